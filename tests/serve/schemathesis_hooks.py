"""What a description cannot say: loaded by Schemathesis, see test_openapi.py."""

from __future__ import annotations

import schemathesis


@schemathesis.hook
def filter_case(context, case):
    """Leave out what HTTP and deadlines are meant to do.

    Servers have to ignore headers that they do not know (RFC 9110, section 5.1), and 504 is the right answer to an
    impatient caller, not a fault.
    """
    headers = {name.lower(): value for name, value in (case.headers or {}).items()}
    if "x-schemathesis-unknown-property" in headers:
        return False
    try:
        return float(headers.get("x-request-timeout-ms", 1000)) >= 1000
    except ValueError:
        return True


@schemathesis.hook
def map_body(context, body):
    """To JSON Schema 5.0 is an integer; msgspec, as most typed decoders, takes 5 only."""
    return _whole(body)


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
