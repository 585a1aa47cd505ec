"""What a request may ask for. Each refusal names the field, its value, the limit and the way out."""

from __future__ import annotations

from math import inf, isfinite
from typing import Final

from paceline.base.errors import InvalidRequest
from paceline.base.generation import GenerateRequest, Sampling
from paceline.generate.stop_strings import StopStrings

MAX_CHOICES: Final = 128
MAX_LOGPROBS: Final = 20
MAX_BIASES: Final = 1024
MAX_BIAS: Final = 100.0
MAX_TOP_K: Final = (1 << 31) - 1
MAX_STOP_TOKENS: Final = 64

_RANGES: Final = (
    ("temperature", 0.0, 2.0, "0 takes the likeliest token"),
    ("top_p", 0.0, 1.0, "1 keeps all tokens"),
    ("min_p", 0.0, 1.0, "0 keeps all tokens"),
    ("top_k", 0, MAX_TOP_K, "0 keeps all tokens"),
    ("repetition_penalty", 0.01, 10.0, "1 is no penalty"),
    ("presence_penalty", -2.0, 2.0, "0 is no penalty"),
    ("frequency_penalty", -2.0, 2.0, "0 is no penalty"),
)


def check_sampling(request: GenerateRequest, vocab_size: int) -> None:
    """Raise InvalidRequest for the first field of a request that is out of its range."""
    for name, least, most, neutral in _RANGES:
        _within(name, getattr(request.sampling, name), least, most, f"{neutral}, or leave it out")
    if request.max_tokens is not None:
        _within("max_tokens", request.max_tokens, 1, inf, "leave it out to go on to the end of the context")
    _within("n", request.n, 1, MAX_CHOICES, "send several requests for more")
    shown = min(MAX_LOGPROBS, vocab_size)
    for name, value in (("logprobs", request.logprobs), ("prompt_logprobs", request.prompt_logprobs)):
        if value is not None:
            _within(name, value, 0, shown, "leave it out for none")
    _check_bias(request.sampling, vocab_size)
    _check_stop_tokens(request.stop_token_ids, vocab_size)
    StopStrings(request.stop)


def _within(name: str, value: float, least: float, most: float, way_out: str) -> None:
    if not least <= value <= most:  # a NaN is in no range
        bounds = f"at least {least:g}" if most == inf else f"{least:g} to {most:g}"
        raise InvalidRequest(f"{name} = {value} is not in its range, {bounds}; {way_out}", param=name)


def _check_bias(sampling: Sampling, vocab_size: int) -> None:
    if len(sampling.logit_bias) > MAX_BIASES:
        raise InvalidRequest(
            f"logit_bias has {len(sampling.logit_bias)} tokens, more than {MAX_BIASES}; "
            "send fewer, or a guide to forbid many",
            param="logit_bias",
        )
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < vocab_size:
            raise InvalidRequest(
                f"logit_bias[{token}] is no token of this model, which has ids 0 to {vocab_size - 1}; leave it out",
                param="logit_bias",
            )
        if not (isfinite(bias) and abs(bias) <= MAX_BIAS):
            raise InvalidRequest(
                f"logit_bias[{token}] = {bias} is not in its range, -{MAX_BIAS:g} to {MAX_BIAS:g}; "
                "the ends forbid and force a token",
                param="logit_bias",
            )


def _check_stop_tokens(tokens: tuple[int, ...], vocab_size: int) -> None:
    if len(tokens) > MAX_STOP_TOKENS:
        raise InvalidRequest(
            f"stop_token_ids has {len(tokens)} ids, more than {MAX_STOP_TOKENS}; send fewer",
            param="stop_token_ids",
        )
    for token in tokens:
        if not 0 <= token < vocab_size:
            raise InvalidRequest(
                f"stop_token_ids has {token}, which is no token of this model (0 to {vocab_size - 1}); leave it out",
                param="stop_token_ids",
            )
