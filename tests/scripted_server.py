"""A real HTTP server that answers from a script, on TCP and on a unix socket."""

from __future__ import annotations

import asyncio
import base64
import threading
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
import uvicorn


@dataclass
class Answer:
    """What the server says to one request. It may come in `pieces`, each sent by itself.

    `hang` never comes, or never ends when there are pieces; `cut` breaks the connection after them.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    pieces: list[bytes] | None = None
    cut: bool = False


@dataclass
class Script:
    """Answers to come, and the requests that came. `echo` answers each text `tN` with the vector [N] instead."""

    url: str = ""
    uds: str = ""
    answers: list[Answer] = field(default_factory=list)
    echo: bool = False
    seen: list[dict[str, Any]] = field(default_factory=list)
    came: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)

    def says(self, *answers: Answer) -> None:
        self.answers[:] = answers
        self.echo = False
        self.seen.clear()
        self.came.clear()
        self.left.clear()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive()) and message.get("more_body"):
            body += message["body"]
        body += message.get("body", b"")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append({"method": scope["method"], "path": scope["path"], "headers": headers, "body": body})
        self.came.set()
        if self.echo:
            answer = embeddings([[float(text[1:])] for text in msgspec.json.decode(body)["input"]])
        else:
            answer = self.answers.pop(0)
        if answer.pieces is not None:
            await self._stream(answer, receive, send)
            return
        if answer.hang:
            await self._wait(receive)
            return
        content = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
        headers = {"content-type": "application/json", "content-length": str(len(content)), **answer.headers}
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            }
        )
        await send({"type": "http.response.body", "body": content})

    async def _stream(self, answer: Answer, receive, send) -> None:
        headers = {"content-type": "text/event-stream", **answer.headers}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": pairs})
        for piece in answer.pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if answer.hang:
            await self._wait(receive)
        elif not answer.cut:
            await send({"type": "http.response.body", "body": b""})

    async def _wait(self, receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.left.set()


@pytest.fixture(scope="session")
def scripted_server(tmp_path_factory):
    script = Script(uds=str(tmp_path_factory.mktemp("socket") / "s"))
    servers = [
        uvicorn.Server(uvicorn.Config(script, log_level="error", lifespan="off", ws="none", **where))
        for where in ({"port": 0}, {"uds": script.uds})
    ]
    ready = threading.Event()

    async def serve() -> None:
        tasks = []
        for server in servers:
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup()
            tasks.append(asyncio.ensure_future(server.main_loop()))
        ready.set()
        await asyncio.gather(*tasks)
        for server in servers:
            await server.shutdown()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(30)
    script.url = f"http://127.0.0.1:{servers[0].servers[0].sockets[0].getsockname()[1]}"
    yield script
    for server in servers:
        server.should_exit = True
    thread.join()


@pytest.fixture
def server(scripted_server):
    """The server, with nothing to say yet."""
    scripted_server.says()
    return scripted_server


def embeddings(vectors, **headers) -> Answer:
    """A good answer with these vectors, as base64, last first."""
    rows = [
        {"object": "embedding", "index": i, "embedding": base64.b64encode(np.float32(row).tobytes()).decode()}
        for i, row in enumerate(vectors)
    ]
    body = {
        "object": "list",
        "data": rows[::-1],
        "model": "m",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
        "truncated": [1],
    }
    return Answer(body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def problem(status: int, code: str, detail: str, **more) -> Answer:
    """An error as our server writes it."""
    body = {"type": f"/docs#{code}", "title": "t", "status": status, "detail": detail, "code": code, **more}
    return Answer(status, body, {"content-type": "application/problem+json", "x-request-id": "r1"})
