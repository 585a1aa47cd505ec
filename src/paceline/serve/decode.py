"""Request bodies: read up to a limit, then JSON or MessagePack into a wire struct."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import msgspec
from starlette.types import Receive

from paceline.base.errors import InvalidRequest, PayloadTooLarge
from paceline.serve.problem import UnsupportedMedia

T = TypeVar("T")

MSGPACK_TYPES = (b"application/msgpack", b"application/x-msgpack", b"application/vnd.msgpack")
_FOREIGN = re.compile(
    rb"multipart/|image/|audio/|video/|font/|application/(pdf|zip|xml|x-protobuf|protobuf|grpc)|text/(xml|html)"
)
_AT = re.compile(r"^(?P<what>.*?)(?: - at (?:`key` in )?`\$\.?(?P<where>[^`]*)`)?$", re.DOTALL)


class CallerLeft(Exception):  # noqa: N818 - says what happened
    """The connection ended before the reply; there is nobody to tell."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], max_bytes: int) -> bytes:
    """The whole body. Raises PayloadTooLarge as soon as it is known, CallerLeft when the connection ends."""
    declared = headers.get(b"content-length")
    if declared is not None:
        check_size(int(declared), max_bytes)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        check_size(len(body), max_bytes)
        return body
    pieces: list[bytes] = []
    size = 0
    while message["type"] == "http.request":
        piece = message.get("body", b"")
        size += len(piece)
        check_size(size, max_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()
    raise CallerLeft


def check_size(size: int, limit: int) -> None:
    """Raises PayloadTooLarge for a body of more than `limit` bytes."""
    if size > limit:
        raise PayloadTooLarge(
            f"the body has {size} bytes or more, the limit is {limit} (serve.max_body_bytes); send several smaller requests"
        )


class Decoder(Generic[T]):
    """Decodes bodies into one wire struct, by content type."""

    def __init__(self, kind: type[T]) -> None:
        self._json: Callable[[bytes], T] = msgspec.json.Decoder(kind).decode
        self._msgpack: Callable[[bytes], T] = msgspec.msgpack.Decoder(kind).decode

    def decode(self, body: bytes, headers: Mapping[bytes, bytes]) -> T:
        """Raises InvalidRequest, naming the field, or UnsupportedMedia.

        Anything that does not say it is something else is read as JSON: curl's `-d` calls it a form.
        """
        content_type = headers.get(b"content-type", b"application/json")
        read, name = self._json, "JSON"
        if content_type != b"application/json" or b"content-encoding" in headers:
            kind = content_type.partition(b";")[0].strip().lower()
            if kind in MSGPACK_TYPES:
                read, name = self._msgpack, "MessagePack"
            elif _FOREIGN.match(kind):
                raise UnsupportedMedia(
                    f"content-type {kind.decode('latin-1')!r} is not read here; send application/json or application/msgpack"
                )
            coding = headers.get(b"content-encoding", b"identity").strip().lower()
            if coding not in (b"identity", b""):
                raise UnsupportedMedia(
                    f"content-encoding {coding.decode('latin-1')!r} is not read here; send the body as it is"
                )
        try:
            return read(body)
        except msgspec.ValidationError as error:
            raise invalid(error) from None
        except (ValueError, RecursionError) as error:  # DecodeError and UnicodeDecodeError are ValueErrors
            raise InvalidRequest(f"the body is not {name}: {error}") from None


def invalid(error: msgspec.ValidationError) -> InvalidRequest:
    """The same error as ours, naming the field."""
    found = _AT.match(str(error))
    assert found is not None
    what, where = found["what"], found["where"]
    return InvalidRequest(f"{where or 'body'}: {what}", param=where or None)
