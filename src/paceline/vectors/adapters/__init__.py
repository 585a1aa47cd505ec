"""Other stores behind `VectorService`: Qdrant over REST, and PostgreSQL with its extension pgvector."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from paceline.base.errors import ConfigError
from paceline.base.vectors_api import VectorService
from paceline.vectors.policy import VectorsPolicy


@asynccontextmanager
async def open_adapter(policy: VectorsPolicy) -> AsyncIterator[VectorService]:
    """The store at `policy.url` for as long as the block runs, on the running event loop.

    The url is http(s)://HOST:PORT of Qdrant, or postgresql://USER@HOST/DATABASE, and `api_key` Qdrant's key or the
    database's password; there are `threads` connections at most. The store need not be up yet: `health` tells.
    ConfigError for a backend or an address that cannot be, and a package that is missing.
    """
    if policy.backend == "qdrant":
        from paceline.vectors.adapters.qdrant import Qdrant  # noqa: PLC0415 - only what is used

        async with Qdrant.open(policy) as qdrant:
            yield qdrant
    elif policy.backend == "pgvector":
        try:
            from paceline.vectors.adapters.pgvector import PgVector  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError(
                f"vectors.backend = 'pgvector' needs psycopg ({error}): pip install 'paceline[pgvector]'",
                param="vectors.backend",
            ) from error
        async with PgVector.open(policy) as pgvector:
            yield pgvector
    else:
        raise ConfigError(
            f"vectors.backend = {policy.backend!r} is no other store; use qdrant or pgvector",
            param="vectors.backend",
        )
