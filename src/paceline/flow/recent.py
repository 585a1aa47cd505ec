"""A dict that forgets what nobody asked for, in two generations."""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """At most `max_keys` entries (2 or more); kept for `keep_s` after the last use unless the room runs out.

    New and used entries live in the young generation. When that is half of the room or `keep_s` old it becomes the
    old one and the former old one is dropped, so forgetting costs nothing per entry. When room runs out those used
    longest ago go first.
    """

    def __init__(self, max_keys: int, keep_s: float) -> None:
        self._half = max(1, max_keys // 2)
        self._keep_s = keep_s
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._turn_at = -1.0

    def get(self, key: K) -> V | None:
        """The entry, which counts as used now."""
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self._add(key, value)
        return value

    def put(self, key: K, value: V, now: float) -> None:
        """Keep an entry; `now` in seconds of any clock, the same for all calls."""
        if now >= self._turn_at:
            self._turn_at = now + self._keep_s
            self._old, self._young = self._young, {}
        self._add(key, value)

    def clear(self) -> None:
        """Forget everything."""
        self._young.clear()
        self._old.clear()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def _add(self, key: K, value: V) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value
