"""One process that speaks HTTP: the whole server, or one of its workers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import uvicorn

from paceline.app.audit import Audit
from paceline.app.generator import OURS, find_generate_folder, with_cache
from paceline.app.grpc_port import check_grpc, open_grpc
from paceline.app.listen import open_socket, url_of
from paceline.app.live import LocalControl, Parts, change_schemas
from paceline.app.live_remote import RemoteControl, following
from paceline.app.model import find_folder, service_of
from paceline.app.parts import open_cache, open_limiter, open_link
from paceline.app.services import open_services
from paceline.app.snapshots import Snapshots
from paceline.app.vectors import check_vectors
from paceline.base.errors import ConfigError, PacelineError
from paceline.base.instruments import Registry
from paceline.serve.access_log import open_access_log
from paceline.serve.admin import Admin, Control
from paceline.serve.asgi import Application
from paceline.serve.auth import Tokens
from paceline.serve.http_protocol import HttpProtocol
from paceline.settings import Settings


class _Server(uvicorn.Server):
    """uvicorn that says good-bye first: on a signal the application turns not ready, open requests end, status 0."""

    def __init__(self, config: uvicorn.Config, application: Application, greeting: str) -> None:
        super().__init__(config)
        self._application = application
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and only then say so: whoever reads the line may connect, or stop the server, at once."""
        await super().startup(sockets)
        print(self._greeting, end="", file=sys.stderr, flush=True)  # noqa: T201

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        loop = asyncio.get_running_loop()

        def leave() -> None:
            self.force_exit = self.should_exit  # the second signal does not wait for open requests
            self.should_exit = True
            self._application.drain()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, leave)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


def run_server(settings: Settings) -> int:
    """The whole server, in one process or several, until a signal; returns the exit status.

    Raises ConfigError when a setting is wrong, before anything heavy is loaded.
    """
    with open_socket(settings.serve) as listener:
        if settings.embed.model:
            find_folder(settings)
        if settings.generate.engine in OURS and settings.generate.on:
            find_generate_folder(settings.generate)
        if settings.vectors.on:
            check_vectors(settings.vectors)
        check_grpc(settings)
        if settings.serve.workers == 1:
            return _run(settings, listener, None, 0)
        from paceline.app.supervisor import supervise  # noqa: PLC0415 - imports this module, for its workers

        return supervise(settings, listener)


def run_worker(settings: Settings, listener: socket.socket, runtime: Path, index: int) -> None:
    """Entry point of one of several workers; its engine lives behind the socket in `runtime`."""
    sys.exit(_run(settings, listener, runtime, index))


def _run(settings: Settings, listener: socket.socket, runtime: Path | None, index: int) -> int:
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(settings, listener, runtime, index))
    except PacelineError as error:
        print(f"paceline: error: {error.message}", file=sys.stderr, flush=True)  # noqa: T201
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop  # noqa: PLC0415 - not there on Windows

    return uvloop.Loop


async def _serve(settings: Settings, listener: socket.socket, runtime: Path | None, index: int) -> None:
    async with (
        open_application(settings, runtime, index) as application,
        application.life(),
        open_grpc(settings, application),
    ):
        config = uvicorn.Config(
            application,
            http=HttpProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=settings.serve.backlog,
            timeout_keep_alive=math.ceil(settings.serve.keep_alive_s),
            timeout_graceful_shutdown=math.ceil(settings.serve.drain_s),
            ssl_certfile=settings.tls.cert_file or None,
            ssl_keyfile=settings.tls.key_file or None,
        )
        try:
            config.load()
        except OSError as error:
            raise ConfigError(
                f"tls.cert_file = {settings.tls.cert_file!r}, tls.key_file = {settings.tls.key_file!r}: {error}; "
                "give PEM files that this process may read"
            ) from None
        url = url_of(listener, tls=bool(settings.tls.cert_file))
        greeting = f"paceline: serving on {url} (try {url}/docs; Ctrl-C stops)\n" if index == 0 else ""
        server = _Server(config, application, greeting)
        await server.serve(sockets=[listener])


@asynccontextmanager
async def open_application(
    settings: Settings, runtime: Path | None = None, index: int = 0
) -> AsyncIterator[Application]:
    """The HTTP application of one process, with all its parts; `runtime` is given to workers only."""
    registry = Registry()
    async with AsyncExitStack() as stack:
        access_log = stack.enter_context(open_access_log(settings.serve.access_log))
        link = open_link(settings)
        if link is not None:
            stack.push_async_callback(link.close)
        cache = await stack.enter_async_context(open_cache(settings, link))
        services = await open_services(stack, settings, registry, runtime, cache)
        model, written, channel = services.model, services.written, services.channel
        limiter = await stack.enter_async_context(open_limiter(settings, link, services.ledger))
        service = None if model is None else service_of(settings, model, cache)
        generator = None if written is None else with_cache(settings, written, cache)
        parts = Parts(
            settings,
            lane=services.lane,
            service=service,
            cache=cache,
            limiter=limiter,
            written=written,
            generator=generator,
            vectors=services.vectors,
        )
        admin: Admin | None = None
        if settings.admin.token:
            tokens = Tokens(settings.admin, group="admin", name="admin")
            control: Control
            if channel is None:
                control = LocalControl(
                    settings,
                    parts.apply,
                    Audit(settings.admin.audit_log),
                    ring=services.ring,
                    steps=services.steps,
                )
                stack.callback(control.close)
            else:
                control = RemoteControl(channel)
            admin = Admin(tokens, control, change_schemas())
        snapshots = None if runtime is None else Snapshots(runtime, f"worker-{index}", registry.snapshot)
        application = Application(
            [] if service is None else [service],
            generators=[] if generator is None else [generator],
            vectors=None if services.vectors is None else services.vectors.service,
            policy=settings.serve,
            auth=settings.auth,
            compression=settings.compression,
            limiter=limiter,
            access_log=access_log,
            registry=registry,
            peers=snapshots.others if snapshots else list,
            parts={} if link is None else {"redis": link.health},
            stats={} if link is None else {"redis": link.stats},
            admin=admin,
        )
        parts.entrance = application.entrance
        if admin is not None and channel is not None:
            await stack.enter_async_context(following(settings, channel, parts.apply))
        if snapshots is not None:
            writing = asyncio.ensure_future(snapshots.keep_writing())
            stack.callback(writing.cancel)
        yield application
