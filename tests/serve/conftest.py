"""Raw ASGI calls, and a real server on a socket."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn
from embedder import DIMENSIONS, HashEmbedder
from letter_generator import LetterGenerator
from vectors_caller import fill

from paceline.flow.cache.policy import CachePolicy
from paceline.flow.cache.tiers import open_tiers
from paceline.flow.limiter import Limiter, LimitPolicy
from paceline.serve.asgi import Application
from paceline.serve.http_protocol import HttpProtocol
from paceline.serve.policy import AuthPolicy, CompressionPolicy, ServePolicy
from paceline.vectors.policy import VectorsPolicy
from paceline.vectors.service import LocalVectors
from paceline.vectors.store import VectorStore


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class House:
    """An application, what it is made of, and a way to call it without a server."""

    app: Application
    embedder: HashEmbedder
    letters: LetterGenerator

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        leave: asyncio.Event | None = None,
        **headers: str,
    ) -> Reply | None:
        """One raw ASGI call; the caller hangs up when `leave` is set. None when nothing was sent back."""
        pieces = iter([body] if isinstance(body, bytes) else body)
        piece = next(pieces, b"")
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            nonlocal piece
            if piece is not None:
                now, piece = piece, next(pieces, None)
                return {"type": "http.request", "body": now, "more_body": piece is not None}
            await (leave or asyncio.Event()).wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "root_path": "",
            "query_string": b"",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
            "client": ("10.1.2.3", 4321),
        }
        await self.app(scope, receive, send)
        if not sent:
            return None
        return Reply(
            sent[0]["status"],
            {name.decode(): value.decode() for name, value in sent[0]["headers"]},
            b"".join(message["body"] for message in sent[1:]),
        )

    def call(self, method: str, path: str, body: bytes | Iterable[bytes] = b"", **headers: str) -> Reply:
        reply = asyncio.run(self.ask(method, path, body, **headers))
        assert reply is not None
        return reply

    def post(self, content: Any, path: str = "/v1/embeddings", **headers: str) -> Reply:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.call("POST", path, body, **headers)


@pytest.fixture
def build() -> Callable[..., House]:
    """Make a house; arguments replace the parts they name."""

    def make(*, limits: LimitPolicy | None = None, generating: bool = False, **parts: Any) -> House:
        embedder = HashEmbedder()
        given: dict[str, Any] = {
            "policy": ServePolicy(),
            "auth": AuthPolicy(),
            "compression": CompressionPolicy(),
            "limiter": Limiter(limits) if limits else None,
            **parts,
        }
        letters = LetterGenerator()
        generators = [letters] if generating else []
        embedders = given.pop("embedders", [embedder])
        return House(Application(embedders, generators=generators, **given), embedder, letters)

    return make


@pytest.fixture
def house(build: Callable[..., House]) -> House:
    """An open house with one model and no limits."""
    return build()


@pytest.fixture
def writing(build: Callable[..., House]) -> House:
    """The same with a generator beside the embedder."""
    return build(generating=True)


@pytest.fixture
def vectors(tmp_path) -> Iterator[LocalVectors]:
    """An empty folder of collections, with a query cache in memory."""
    policy = VectorsPolicy()
    service = LocalVectors(VectorStore(tmp_path / "vectors"), policy, cache=open_tiers(CachePolicy()))
    yield service
    asyncio.run(service.close())


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextmanager
def served(app: Application) -> Iterator[str]:
    """The address of a real uvicorn with `app` behind it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            app,
            http=HttpProtocol,
            ws="none",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            log_level="error",
        )
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        assert server.up.wait(30)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


@pytest.fixture
def serve() -> Callable[[Application], Any]:
    """Context manager that puts an application behind a real server and gives its address."""
    return served


@pytest.fixture
def calling(build, serve, vectors):
    """Callers of a server with collections; arguments replace parts of the server."""
    left = []

    def start(**parts):
        house = build(**{"vectors": vectors, **parts})
        context = serve(house.app)
        caller = httpx.Client(base_url=context.__enter__(), timeout=60)
        left.extend([lambda: context.__exit__(None, None, None), caller.close])
        caller.house = house
        return caller

    yield start
    while left:
        left.pop()()


@pytest.fixture
def caller(calling):
    """A caller of an open server that has six records in the collection `demo`."""
    made = calling()
    assert made.post("/v1/collections", json={"name": "demo", "dimension": DIMENSIONS}).status_code == 200
    fill(made)
    return made
