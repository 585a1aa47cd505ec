"""How a test server answers, well and badly: the table is at the end."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

from exchange import Exchange, Hangup

SEVERAL_HOURS_S = 10_000


async def ok(exchange: Exchange) -> None:
    await exchange.whole(exchange.options.body.encode())


async def chunked(exchange: Exchange) -> None:
    """In three chunks, with an extension and a trailer."""
    body = exchange.options.body.encode()
    third = max(1, len(body) // 3)
    await exchange.head(Content_Type="application/json", Transfer_Encoding="chunked")
    await exchange.send(b"%x;note=first\r\n%b\r\n" % (len(body[:third]), body[:third]))
    for part in (body[third : 2 * third], body[2 * third :]):
        if part:
            await exchange.chunk(part)
    await exchange.send(b"0\r\nX-Trailer: 1\r\n\r\n")


async def close_delimited(exchange: Exchange) -> None:
    await exchange.head(Content_Type="application/json", Connection="close")
    await exchange.send(exchange.options.body.encode())
    raise Hangup


async def status(exchange: Exchange) -> None:
    """204 and 304 have no body; 304 still names the length it would have."""
    code = exchange.options.status
    if code == 204:
        await exchange.head(code)
    elif code == 304:
        await exchange.head(code, Content_Length=len(exchange.options.body))
    else:
        await exchange.whole(exchange.options.body.encode(), code)


async def alternating(exchange: Exchange) -> None:
    """Every second answer has `status` (500 if that is 200)."""
    wrong = 500 if exchange.options.status == 200 else exchange.options.status
    await exchange.whole(exchange.options.body.encode(), wrong if exchange.number % 2 else 200)


async def not_json(exchange: Exchange) -> None:
    await exchange.whole(b"<html>All is well</html>", kind="text/html")


async def reset(_: Exchange) -> None:
    raise Hangup(reset=True)


async def closes(_: Exchange) -> None:
    """Read the request, say nothing, close."""
    raise Hangup


async def hang(_: Exchange) -> None:
    await asyncio.sleep(SEVERAL_HOURS_S)


async def half(exchange: Exchange) -> None:
    body = exchange.options.body.encode()
    await exchange.head(Content_Type="application/json", Content_Length=len(body))
    await exchange.send(body[: len(body) // 2])
    raise Hangup


async def half_chunked(exchange: Exchange) -> None:
    await exchange.head(Content_Type="application/json", Transfer_Encoding="chunked")
    await exchange.chunk(exchange.options.body.encode())
    raise Hangup


async def stalls(exchange: Exchange) -> None:
    """Half a body, then nothing more on an open connection."""
    body = exchange.options.body.encode()
    await exchange.head(Content_Type="application/json", Content_Length=len(body))
    await exchange.send(body[: len(body) // 2])
    await asyncio.sleep(SEVERAL_HOURS_S)


async def huge_header(exchange: Exchange) -> None:
    """10 MB."""
    await exchange.head(X_Huge="h" * 10_000_000, Content_Length=2)
    await exchange.send(b"{}")


async def endless_header(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        await exchange.send(b"X-%d: %b\r\n" % (number, b"h" * 1000))


async def garbage(exchange: Exchange) -> None:
    """Another protocol's greeting; the connection stays open."""
    await exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n\x00\x01\xff")


async def interim(exchange: Exchange) -> None:
    """100 and 103 come before the answer."""
    await exchange.head(100)
    await exchange.head(103, Link="</style.css>; rel=preload")
    await ok(exchange)


async def twice(exchange: Exchange) -> None:
    """A second answer that nobody asked for."""
    await ok(exchange)
    await ok(exchange)


async def slow_head(exchange: Exchange) -> None:
    """`gap_ms` between the lines of the head."""
    body = exchange.options.body.encode()
    for line in (
        b"HTTP/1.1 200 OK\r\n",
        b"X-Slow: 1\r\n",
        b"Content-Length: %d\r\n" % len(body),
        b"\r\n",
        body,
    ):
        await exchange.send(line)
        await asyncio.sleep(exchange.options.gap_ms / 1e3)


async def sse(exchange: Exchange) -> None:
    """An OpenAI-shaped server: chat/completions, completions and embeddings; streams when asked to, and on GET."""
    asked = exchange.request.fields
    if asked.get("stream") or exchange.request.method == "GET":
        await _stream(exchange, chat="/chat/" in exchange.request.target or not asked.get("prompt"))
        return
    tokens = exchange.options.tokens
    usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
    said = " ".join(f"t{index}" for index in range(tokens))
    if "/embeddings" in exchange.request.target:
        data: dict[str, Any] = {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}],
        }
        usage = {"prompt_tokens": 5, "total_tokens": 5}
    elif "/chat/" in exchange.request.target:
        data = {
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "length"}
            ]
        }
    else:
        data = {"choices": [{"index": 0, "text": said, "finish_reason": "length"}]}
    await exchange.whole(json.dumps({**data, "usage": usage}).encode())


async def _stream(exchange: Exchange, *, chat: bool) -> None:
    options = exchange.options
    end = "\r\n" if options.crlf else "\n"
    name = "chat.completion.chunk" if chat else "text_completion"

    async def event(data: dict[str, Any] | str) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        comment = f": still here{end}{end}" if options.crlf else ""
        await exchange.chunk(f"{comment}data: {text}{end}{end}".encode())

    async def choice(text: str | None, finish: str | None = None) -> None:
        said = {"delta": {} if text is None else {"content": text}} if chat else {"text": text or ""}
        await event({"id": "x-1", "object": name, "choices": [{"index": 0, **said, "finish_reason": finish}]})

    await exchange.head(Content_Type="text/event-stream", Transfer_Encoding="chunked")
    if chat:
        role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        await event({"id": "x-1", "object": name, "choices": [role]})
    due = asyncio.get_running_loop().time() + options.first_ms / 1e3
    for first in range(0, options.tokens, options.per_event):
        if options.die_at and first >= options.die_at:
            raise Hangup(reset=True)
        if options.error_at and first >= options.error_at:
            await event(
                {"error": {"message": "the engine ran out of memory", "type": "server_error", "code": 500}}
            )
            await exchange.send(b"0\r\n\r\n")
            return
        if options.end_at and first >= options.end_at:
            await exchange.send(b"0\r\n\r\n")
            return
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        last = min(first + options.per_event, options.tokens)
        await choice("".join(f" t{index}" for index in range(first, last)))
        due += options.gap_ms / 1e3
    await choice(None, "length")
    asked = exchange.request.fields.get("stream_options", {}).get("include_usage", False)
    if options.usage == "always" or (options.usage != "never" and asked):
        told = options.tokens * (2 if options.usage == "wrong" else 1)
        usage = {"prompt_tokens": 5, "completion_tokens": told, "total_tokens": 5 + told}
        await event({"id": "x-1", "object": name, "choices": [], "usage": usage})
    await event("[DONE]")
    await exchange.send(b"0\r\n\r\n")


BEHAVIOURS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    behaviour.__name__: behaviour
    for behaviour in (
        *(
            ok,
            chunked,
            close_delimited,
            status,
            alternating,
            not_json,
            reset,
            closes,
            hang,
            half,
            half_chunked,
        ),
        *(stalls, huge_header, endless_header, garbage, interim, twice, slow_head, sse),
    )
}
DEAF = ("refuses", "deaf")
"""Nobody listens on the port; or somebody does and never accepts, with room for one in the queue."""
