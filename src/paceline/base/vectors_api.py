"""The seam of collections of vectors: all that is asked and what it is answered with, and who answers: `VectorService`.

One struct for each thing that can be asked (`vectors_records`, `vectors_collections`); its type says what is to be done,
so that one method answers all of them, here, in another process, over HTTP or gRPC, or by another store.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from paceline.base.vectors_collections import (
    CollectionCard,
    Collections,
    Compact,
    ComparePrecisions,
    CreateCollection,
    Describe,
    DescribeCollection,
    Described,
    DropCollection,
    Dropped,
    ListCollections,
    ListSnapshots,
    Precisions,
    Reencode,
    Reshard,
    Resharded,
    Restore,
    Snapshot,
    Snapshots,
    Tune,
    Tuned,
    Verified,
    Verify,
)
from paceline.base.vectors_records import (
    Delete,
    Deleted,
    Fetch,
    Fetched,
    Listed,
    ListIds,
    Queried,
    Query,
    Update,
    Updated,
    Upsert,
    Upserted,
)

Asked = (
    Upsert | Update | Delete | Fetch | ListIds | Query | Describe | CreateCollection | ListCollections
    | DescribeCollection | DropCollection | Tune | ComparePrecisions | Reencode | Compact | Verify | Reshard | Snapshot | ListSnapshots
    | Restore
)  # fmt: skip
"""All that a `VectorService` answers. `Search` is not among them: it needs a model, which serving has."""

ANSWER: Final[dict[type[Any], type[Any]]] = {
    Upsert: Upserted,
    Update: Updated,
    Delete: Deleted,
    Fetch: Fetched,
    ListIds: Listed,
    Query: Queried,
    Describe: Described,
    CreateCollection: CollectionCard,
    ListCollections: Collections,
    DescribeCollection: CollectionCard,
    DropCollection: Dropped,
    Tune: Tuned,
    ComparePrecisions: Precisions,
    Reencode: CollectionCard,
    Compact: CollectionCard,
    Verify: Verified,
    Reshard: Resharded,
    Snapshot: Snapshots,
    ListSnapshots: Snapshots,
    Restore: CollectionCard,
}
"""What each is answered with."""


class VectorService(Protocol):
    """Collections of one process, of another process, or of another store."""

    def hit(self, query: Query) -> Queried | None:
        """The answer when it is in memory, at once."""
        ...

    async def answer(self, asked: Any, *, deadline_at: float) -> Any:
        """The answer, of the type `ANSWER` says; `deadline_at` is an instant of `time.monotonic`.

        InvalidRequest, NotFound, DeadlineExceeded, StorageError and its kinds, Unreachable.
        """
        ...

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Counters by area."""
        ...

    def health(self) -> Mapping[str, object]:
        """State, for `/health`; `status` is `ok`, `failing` or `starting`."""
        ...
