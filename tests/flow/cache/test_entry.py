"""The bytes of an entry outside the process."""

import math
import struct

from hypothesis import given
from hypothesis import strategies as st

from paceline.flow.cache.entry import HEADER_BYTES, decode, encode


@given(value=st.binary(max_size=100), expires_at=st.floats(0, 1e11), cost_s=st.floats(0, 1e6, width=32))
def test_is_read_as_it_was_written(value: bytes, expires_at: float, cost_s: float) -> None:
    raw = encode(value, expires_at, cost_s)

    assert len(raw) == HEADER_BYTES + len(value)
    assert decode(raw) == (value, expires_at, cost_s)


@given(raw=st.binary(max_size=40))
def test_foreign_bytes_never_raise(raw: bytes) -> None:
    entry = decode(raw)

    assert entry is None or raw[0] == 1


def test_another_version_is_no_entry() -> None:
    raw = encode(b"value", 1.0, 1.0)

    assert decode(b"\x02" + raw[1:]) is None
    assert decode(raw[: HEADER_BYTES - 1]) is None
    assert decode(struct.pack("<B3xfd", 1, 1.0, math.nan)) is None
    assert decode(struct.pack("<B3xfd", 1, -1.0, 1.0)) is None
