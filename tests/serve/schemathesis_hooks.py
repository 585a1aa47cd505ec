"""What a description cannot say: loaded by Schemathesis, see test_openapi.py."""

from __future__ import annotations

import copy

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """Leave out what HTTP and deadlines are meant to do, and fields that contradict each other.

    Servers have to ignore headers that they do not know (RFC 9110, section 5.1), and 504 is the right answer to an
    impatient caller, not a fault.
    """
    headers = {name.lower(): value for name, value in (case.headers or {}).items()}
    if "x-schemathesis-unknown-property" in headers:
        return False
    if context.operation.path.startswith("/v1/") and case.body != _agreed(case.body):
        return False
    try:
        return float(headers.get("x-request-timeout-ms", 1000)) >= 1000
    except ValueError:
        return True


@schemathesis.hook
def map_body(context, body):
    """To JSON Schema 5.0 is an integer; msgspec, as most typed decoders, takes 5 only."""
    return _agreed(_whole(body))


def _agreed(body):
    """A body whose fields agree: one guide that can be followed, one name for a length, options for a stream."""
    if not isinstance(body, dict):
        return body
    body = copy.deepcopy(body)
    _one_guide(body)
    needs = {"stream_options": "stream", "top_logprobs": "logprobs"}
    clashes = {"max_completion_tokens": "max_tokens", "n": "best_of"}
    for name in [
        *(name for name, needed in needs.items() if not body.get(needed)),
        *(name for name, other in clashes.items() if body.get(other)),
        *(["n"] if isinstance(body.get("prompt"), list) else []),
        "best_of",
    ]:
        if body.get(name) is not None:
            del body[name]
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict) and message.get("content") is None:
            message["content"] = ""
        for call in (isinstance(message, dict) and message.get("tool_calls")) or ():
            _set(call, "function", "arguments", "{}")
    return body


def _one_guide(body):
    names = [name for name in body if name.startswith("guided_") and body[name] is not None]
    for name in names:
        if len(names) > 1 or name != "guided_choice" or body.get("response_format"):
            del body[name]
    _set(body.get("response_format"), "json_schema", "schema", {})


def _set(part, outer, name, value):
    """Replace a field where it stands."""
    inner = part.get(outer) if isinstance(part, dict) else None
    if isinstance(inner, dict) and isinstance(inner.get(name), type(value)):
        inner[name] = value


def _whole(part):
    match part:
        case float() if part.is_integer():
            return int(part)
        case list():
            return [_whole(item) for item in part]
        case dict():
            return {key: _whole(item) for key, item in part.items()}
        case _:
            return part
