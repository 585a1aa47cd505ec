"""Compression by negotiation."""

from __future__ import annotations

import asyncio
import gzip

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from paceline.serve.compress import compress, negotiate

OURS = ("zstd", "gzip")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"", None),
        (b"gzip", "gzip"),
        (b"gzip, zstd", "zstd"),
        (b"gzip;q=1.0, zstd;q=0.5", "gzip"),
        (b"GZIP ; Q=0.8", "gzip"),
        (b"gzip;q=0", None),
        (b"*", "zstd"),
        (b"*;q=0.1, zstd;q=0", "gzip"),
        (b"br, deflate", None),
        (b"identity, gzip", "gzip"),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"gzip;q=banana", None),
    ],
)
def test_the_client_chooses_and_we_choose_among_equals(accepted, chosen):
    assert negotiate(accepted, OURS) == chosen


def test_our_order_is_a_setting():
    assert negotiate(b"gzip, zstd", ("gzip", "zstd")) == "gzip"


@given(st.binary(max_size=60))
def test_no_header_breaks_the_negotiation(accepted):
    assert negotiate(accepted, OURS) in (None, "zstd", "gzip")


@pytest.mark.parametrize("size", [10, 200_000])
def test_bodies_come_back_whole(size):
    body = b"paceline" * (size // 8)

    async def both():
        return await compress(body, "zstd"), await compress(body, "gzip")

    zstd, gzipped = asyncio.run(both())

    assert zstandard.ZstdDecompressor().decompress(zstd) == body
    assert gzip.decompress(gzipped) == body
