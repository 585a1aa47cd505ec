"""Do the peers give the same vectors? python -m benchmarks.peers.check [peer ...]

Every peer embeds the same 20 texts; each vector must have a cosine of at least 0.999 to the fp32 vector
of the reference, which is itself compared with a second implementation. Exits with 1 if one does not.
"""

import argparse
import math
import operator
import sys

from benchmarks.peers.launch import PEERS, Peer, embed, launched

PORT = 8190
LEAST_COSINE = 0.999
REFERENCE = "fastapi-sentence-transformers"
SECOND = "fastapi-onnxruntime"

SENTENCES = (
    "The cat sits outside.",
    "How much padded work does a batch of mixed lengths waste?",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "東京は今日も雨です。",
    "SELECT name FROM users WHERE id = 7; -- 100 % certain?",
)
# Each sentence 1, 4, 16 and 64 times: from 7 tokens to beyond the 256 at which the model truncates.
TEXTS = [" ".join([sentence] * times) for sentence in SENTENCES for times in (1, 4, 16, 64)]


def vectors(peer: Peer) -> list[list[float]]:
    with launched(peer, PORT) as base_url:
        return [embed(base_url + peer.url_path, text) for text in TEXTS]


def cosine(a: list[float], b: list[float]) -> float:
    return _dot(a, b) / math.sqrt(_dot(a, a) * _dot(b, b))


def _dot(a: list[float], b: list[float]) -> float:
    return math.fsum(map(operator.mul, a, b))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="peer", help=f"default all: {', '.join(PEERS)}")
    names = parser.parse_args().peers or list(PEERS)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        parser.error(f"unknown peer {unknown[0]!r}; there are: {', '.join(PEERS)}")
    found = {name: vectors(PEERS[name]) for name in dict.fromkeys([REFERENCE, SECOND, *names])}
    wrong = False
    for name in names:
        against = SECOND if name == REFERENCE else REFERENCE
        least, text = min(
            (cosine(ours, theirs), text)
            for ours, theirs, text in zip(found[name], found[against], TEXTS, strict=True)
        )
        wrong |= least < LEAST_COSINE
        verdict = "ok" if least >= LEAST_COSINE else f"BELOW {LEAST_COSINE} for {text[:60]!r}"
        print(f"{name}: least cosine to {against} over {len(TEXTS)} texts {least:.6f} {verdict}")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
