"""Other stores behind `VectorService`: Qdrant over REST, and PostgreSQL with its extension pgvector."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal, get_args

from paceline.base.errors import ConfigError
from paceline.base.vectors_api import VectorService
from paceline.flow.retry import RetryPolicy

Kind = Literal["qdrant", "pgvector"]


@asynccontextmanager
async def open_adapter(  # noqa: PLR0913 - keywords, each with a default
    kind: str,
    url: str,
    api_key: str = "",
    *,
    collection: str = "",
    connections: int = 16,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
) -> AsyncIterator[VectorService]:
    """The store at `url` for as long as the block runs, on the running event loop.

    `url` is http(s)://HOST:PORT of Qdrant, or postgresql://USER@HOST/DATABASE; `api_key` is Qdrant's key or the database's
    password. `collection` is meant where none is named. The store need not be up yet: health tells. ConfigError for a
    kind or an address that cannot be, and a package that is missing.
    """
    if kind == "qdrant":
        from paceline.vectors.adapters.qdrant import Qdrant  # noqa: PLC0415 - only what is used

        async with Qdrant.open(
            url, api_key, collection=collection, connections=connections, retry=retry
        ) as qdrant:
            yield qdrant
    elif kind == "pgvector":
        try:
            from paceline.vectors.adapters.pgvector import PgVector  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigError(
                f"vectors.backend = 'pgvector' needs psycopg ({error}): pip install 'paceline[pgvector]'",
                param="vectors.backend",
            ) from error
        async with PgVector.open(
            url, api_key, collection=collection, connections=connections, retry=retry
        ) as pgvector:
            yield pgvector
    else:
        raise ConfigError(
            f"vectors.backend = {kind!r} is none of {', '.join(get_args(Kind))}", param="vectors.backend"
        )
