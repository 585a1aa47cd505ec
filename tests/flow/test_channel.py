"""Calls over a real unix socket: many at once, errors as themselves, nothing waits for a dead process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from paceline.base.errors import EngineError, InvalidRequest, Overloaded
from paceline.flow.channel import MAX_FRAME_BYTES, Channel, ChannelServer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request):
    """Both loops: the server runs on uvloop, whose transports are a kind of their own."""
    return "asyncio", {"use_uvloop": request.param}


class Far:
    """The other end: echoes, refuses, fails, or waits until it is let go."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def answer(self, operation, payload):
        if operation == "echo":
            return payload
        if operation == "wait":
            self.started.set()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
            return "waited"
        if operation == "overloaded":
            raise Overloaded("full: 9 of 9 jobs wait; try again later", retry_after_s=1.5)
        if operation == "invalid":
            raise InvalidRequest("input[3] is empty; send text", param="input[3]")
        raise ZeroDivisionError(operation)


@asynccontextmanager
async def both_ends(folder: Path):
    far = Far()
    server = ChannelServer(folder / "s", far.answer)
    await server.start()
    channel = Channel(folder / "s")
    try:
        yield far, channel, server
    finally:
        await channel.close()
        await server.close()


async def test_a_call_brings_back_what_the_other_end_returned(tmp_path):
    async with both_ends(tmp_path) as (_, channel, _server):
        assert [b"\x00bytes", {"a": 1.5}] == await channel.call("echo", [b"\x00bytes", {"a": 1.5}])


async def test_hundreds_of_calls_share_one_connection_and_find_their_own_answers(tmp_path):
    async with both_ends(tmp_path) as (_, channel, _server):
        answers = await asyncio.gather(*(channel.call("echo", index) for index in range(500)))

    assert list(range(500)) == answers


async def test_a_slow_call_does_not_hold_up_a_quick_one(tmp_path):
    async with both_ends(tmp_path) as (far, channel, _server):
        slow = asyncio.ensure_future(channel.call("wait", None))
        await far.started.wait()

        assert "quick" == await channel.call("echo", "quick")
        far.gate.set()
        assert "waited" == await slow


async def test_a_frame_larger_than_a_read_comes_through_whole(tmp_path):
    big = bytes(range(256)) * 8192
    async with both_ends(tmp_path) as (_, channel, _server):
        assert big == await channel.call("echo", big)


async def test_our_errors_travel_as_themselves(tmp_path):
    async with both_ends(tmp_path) as (_, channel, _server):
        with pytest.raises(Overloaded, match="9 of 9") as refused:
            await channel.call("overloaded", None)
        with pytest.raises(InvalidRequest) as wrong:
            await channel.call("invalid", None)

    assert 1.5 == refused.value.retry_after_s
    assert "input[3]" == wrong.value.param


async def test_any_other_fault_is_an_engine_error_not_silence(tmp_path):
    async with both_ends(tmp_path) as (_, channel, _server):
        with pytest.raises(EngineError, match="ZeroDivisionError"):
            await channel.call("break", None)


async def test_cancelling_a_call_cancels_it_at_the_other_end(tmp_path):
    async with both_ends(tmp_path) as (far, channel, _server):
        call = asyncio.ensure_future(channel.call("wait", None))
        await far.started.wait()
        call.cancel()

        await asyncio.wait_for(far.cancelled.wait(), 5)
        assert "still there" == await channel.call("echo", "still there")


async def test_a_caller_that_dies_cancels_its_calls(tmp_path):
    async with both_ends(tmp_path) as (far, channel, _server):
        call = asyncio.ensure_future(channel.call("wait", None))
        await far.started.wait()
        await channel.close()

        await asyncio.wait_for(far.cancelled.wait(), 5)
        with pytest.raises(EngineError, match="went away"):
            await call


async def test_open_calls_fail_when_the_other_end_goes_and_new_ones_work_when_it_is_back(tmp_path):
    async with both_ends(tmp_path) as (far, channel, server):
        call = asyncio.ensure_future(channel.call("wait", None))
        await far.started.wait()
        await server.close()
        with pytest.raises(EngineError, match="went away"):
            await call
        with pytest.raises(EngineError, match="does not answer"):
            await channel.call("echo", 1)

        again = ChannelServer(tmp_path / "s", far.answer)
        await again.start()
        assert 2 == await channel.call("echo", 2)
        await again.close()


async def test_a_frame_beyond_the_bound_ends_the_connection(tmp_path):
    async with both_ends(tmp_path) as (_, _channel, _server):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write((MAX_FRAME_BYTES + 1).to_bytes(4, "little"))

        assert b"" == await asyncio.wait_for(reader.read(), 5)
        writer.close()
