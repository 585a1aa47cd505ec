"""Connections to one PostgreSQL with pgvector: a pool, transactions in it, failures as our errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import psycopg
from psycopg import AsyncConnection, errors
from psycopg_pool import AsyncConnectionPool, PoolTimeout, TooManyRequests

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    PacelineError,
    StorageError,
    StorageFull,
    Unreachable,
)
from paceline.flow.retry import RetryPolicy
from paceline.vectors.adapters.store_calls import StoreCalls

T = TypeVar("T")
Connection = AsyncConnection[tuple[Any, ...]]

OLDEST: Final = (0, 8)
"""The first pgvector whose index goes on searching when a filter took what it found."""
RETRY: Final = RetryPolicy(attempts=3, first_wait_s=0.05, max_wait_s=1.0)
CONNECT_S: Final = 5
_LOST: Final = (
    errors.AdminShutdown,
    errors.CannotConnectNow,
    errors.CrashShutdown,
    errors.IdleSessionTimeout,
)
_AGAIN: Final = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)
_PREPARED: Final = (
    "CREATE EXTENSION IF NOT EXISTS vector",
    "CREATE SCHEMA IF NOT EXISTS paceline",
    """CREATE TABLE IF NOT EXISTS paceline._collections
       (name text PRIMARY KEY, dimensions int NOT NULL, metric text NOT NULL, precision text NOT NULL)""",
)
_LOCK: Final = 0x7061_6365
"""Of the preparation: two servers that start at once would both create."""


class PgPool:
    """A pool of connections to one database."""

    def __init__(self, url: str, password: str, *, connections: int, retry: RetryPolicy = RETRY) -> None:
        """Opens no connection yet. ConfigError for an address that is none."""
        parts = urlsplit(url)
        if parts.scheme not in {"postgresql", "postgres"}:
            raise ConfigError(
                f"vectors.url is no address of PostgreSQL (it begins with {parts.scheme!r}); write "
                "postgresql://USER@HOST/DATABASE",
                param="vectors.url",
            )
        self.calls = StoreCalls(f"PostgreSQL at {parts.hostname or 'its socket'}{parts.path}", retry)
        options: dict[str, Any] = {"connect_timeout": CONNECT_S, "prepare_threshold": None}
        if password:
            options["password"] = password
        self._url, self._options = url, options
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url, kwargs=options, min_size=0, max_size=connections, open=False
        )
        self._is_prepared = False

    async def open(self) -> None:
        """Start the pool; the database need not be up yet."""
        await self._pool.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._pool.close()

    async def run(self, work: Callable[[Connection], Awaitable[T]], deadline_at: float) -> T:
        """What `work` returns, done in one transaction: all of it or none, and again after a passing failure."""

        async def once(left_s: float) -> T:
            try:
                if not self._is_prepared:
                    await self._prepare()
                async with self._pool.connection(timeout=left_s) as connection, connection.transaction():
                    return await work(connection)
            except (psycopg.Error, PoolTimeout, TooManyRequests) as error:
                raise self._ours(error) from error

        return await self.calls.call(once, deadline_at)

    async def _prepare(self) -> None:
        """Make what we keep our collections in, if it is not there. On a connection of its own: it tells why there is none."""
        async with await AsyncConnection.connect(self._url, **self._options) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            if await _found(connection, "SELECT to_regclass('paceline._collections')") is None:
                for statement in _PREPARED:
                    await connection.execute(statement)
            version = await _found(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if version is None or tuple(map(int, str(version).split(".")[:2])) < OLDEST:
            raise StorageError(
                f"the database has pgvector {version}; 0.8 is the oldest that works: install it and ALTER EXTENSION vector "
                "UPDATE"
            )
        self._is_prepared = True

    def _ours(self, error: Exception) -> PacelineError:
        message = f"{self.calls.name}: {str(error).strip() or type(error).__name__}"
        match error:
            case PoolTimeout() | TooManyRequests():
                return Overloaded(f"{message}; every connection is in use", retry_after_s=0.1)
            case errors.UndefinedTable():
                return NotFound(f"{message}; create the collection", param="collection")
            case errors.QueryCanceled():
                return DeadlineExceeded(message)
            case errors.DiskFull():
                return StorageFull(message)
            case errors.FeatureNotSupported() | errors.UndefinedFile() if not self._is_prepared:
                return StorageError(
                    f"{message}; pgvector is not installed beside this server (Debian 13: postgresql-17-pgvector)"
                )
            case errors.InvalidPassword() | errors.InvalidAuthorizationSpecification():
                return StorageError(f"{message}; check vectors.api_key and the user of vectors.url")
            case _ if isinstance(error, _AGAIN):
                return Overloaded(message, retry_after_s=0.0)
            case psycopg.DataError() | errors.ProgramLimitExceeded():
                return InvalidRequest(message)
            case psycopg.OperationalError() if isinstance(error, _LOST) or error.sqlstate is None:
                return Unreachable(f"{message}; is it running (vectors.url)?")
            case _:
                return StorageError(message)


async def _found(connection: Connection, statement: str) -> Any:
    row = await (await connection.execute(statement)).fetchone()
    return None if row is None else row[0]
