"""Makes the virtual environment of each peer: python -m benchmarks.peers.environments [peer ...]

Each peer has its own, under PACELINE_PEERS_HOME, because infinity needs a transformers release that the
others have left behind. Runs again for free: an environment made from the same list is kept.
"""

import argparse
import subprocess
import sys
import venv

from benchmarks.peers.launch import HERE, PEERS, Peer

TORCH = "torch==2.13.0"
UV = "uv==0.13.8"


def make(peer: Peer) -> None:
    wanted = peer.requirements.read_text()
    made_from = peer.environment / "made-from.txt"
    if made_from.exists() and made_from.read_text() == wanted:
        print(f"{peer.name}: kept")
        return
    print(f"{peer.name}: making {peer.environment}", flush=True)
    venv.create(peer.environment, clear=True, with_pip=True)
    python = str(peer.environment / "bin" / "python")
    # torch goes first and with pip: pip's configuration decides which build it is (CPU or CUDA), uv does
    # not read that configuration, and afterwards `torch==2.13.0` is satisfied and stays.
    subprocess.run([python, "-m", "pip", "install", "--quiet", TORCH, UV], check=True)
    # The lists are complete, so nothing is resolved anew.
    uv_install = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
    subprocess.run([*uv_install, "--no-deps", "--requirement", str(peer.requirements)], check=True)
    if peer.name == "fastapi-onnxruntime":
        subprocess.run([python, str(HERE / "onnx_graph.py")], check=True)
    made_from.write_text(wanted)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peers", nargs="*", metavar="peer", help=f"default all: {', '.join(PEERS)}")
    names = parser.parse_args().peers or list(PEERS)
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        parser.error(f"unknown peer {unknown[0]!r}; there are: {', '.join(PEERS)}")
    for name in names:
        make(PEERS[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
