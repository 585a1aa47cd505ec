"""Qdrant's REST interface: requests sent, results unwrapped, failures as our errors."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
import orjson

from paceline.base.errors import (
    ConfigError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    PacelineError,
    PayloadTooLarge,
    StorageError,
    Unreachable,
)
from paceline.flow.retry import RetryPolicy
from paceline.vectors.adapters.store_calls import StoreCalls

RETRY: Final = RetryPolicy(attempts=3, first_wait_s=0.05, max_wait_s=1.0)
CONNECT_S: Final = 5.0
_SHOWN: Final = 300


class QdrantRest:
    """A pool of connections to one Qdrant."""

    def __init__(self, url: str, api_key: str, *, connections: int, retry: RetryPolicy = RETRY) -> None:
        """Opens no connection yet. ConfigError for an address that is none."""
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(
                f"vectors.url = {url!r} is no address of Qdrant; write http://HOST:6333", param="vectors.url"
            )
        self.url = url.rstrip("/")
        self.calls = StoreCalls(f"Qdrant at {self.url}", retry)
        self._http = httpx.AsyncClient(
            headers={"content-type": "application/json", **({"api-key": api_key} if api_key else {})},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def get(self, *path: str, deadline_at: float) -> Any:
        """The `result` of a GET."""
        return await self.send("GET", path, None, deadline_at)

    async def post(self, *path: str, body: Any, deadline_at: float) -> Any:
        """The `result` of a POST that reads."""
        return await self.send("POST", path, body, deadline_at)

    async def send(
        self, method: str, path: tuple[str, ...], body: Any, deadline_at: float, *, wait: bool = False
    ) -> Any:
        """The `result` of a call; `wait`: answered when the write is in force."""
        address = "/".join((self.url, *(quote(part, safe="/") for part in path))) + (
            "?wait=true" if wait else ""
        )
        content = None if body is None else orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)

        async def once(left_s: float) -> Any:
            try:
                reply = await self._http.request(
                    method,
                    address,
                    content=content,
                    timeout=httpx.Timeout(left_s, connect=min(left_s, CONNECT_S)),
                )
            except httpx.HTTPError as error:
                raise self._of_transport(error) from error
            if reply.status_code >= 300:
                raise self._of_reply(reply)
            try:
                return orjson.loads(reply.content)["result"]
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise StorageError(
                    f"what answers at {self.url} is no Qdrant ({error!r}); check vectors.url"
                ) from error

        return await self.calls.call(once, deadline_at)

    def _of_transport(self, error: httpx.HTTPError) -> PacelineError:
        if isinstance(error, httpx.PoolTimeout):
            return Overloaded(f"every connection to Qdrant at {self.url} is in use", retry_after_s=0.1)
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return DeadlineExceeded(f"Qdrant at {self.url} did not answer in time; allow more")
        return Unreachable(
            f"cannot reach Qdrant at {self.url}: {str(error) or type(error).__name__}; is it running (vectors.url)?"
        )

    def _of_reply(self, reply: httpx.Response) -> PacelineError:
        message = f"Qdrant answers {reply.status_code}: {_told(reply.content)}"
        match reply.status_code:
            case 401 | 403:  # ours, not our caller's: it must not be told that its own token is wrong
                return StorageError(f"{message}; check vectors.api_key")
            case 404:
                return NotFound(message, param="collection")
            case 413:
                return PayloadTooLarge(message)
            case 429:
                return Overloaded(message, retry_after_s=_seconds(reply.headers.get("retry-after", "")))
            case 502 | 503 | 504:
                return Unreachable(message)
            case status if status < 500:
                return InvalidRequest(message)
            case _:
                return StorageError(message)


def _told(content: bytes) -> str:
    try:
        return str(orjson.loads(content)["status"]["error"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return content[:_SHOWN].decode("utf-8", "replace") or "nothing"


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        return 1.0
