"""One link to a real Redis: turns travel together, and a Redis that is away costs nothing."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time

import pytest

from paceline.base.errors import ConfigError
from paceline.flow.redis_link import RedisLink, RedisPolicy, Script

pytestmark = pytest.mark.redis


class Clock:
    """Real time, plus what a test does not want to wait for."""

    ahead_s = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead_s


def link_to(url, clock=time.monotonic, **policy):
    patient = {"timeout_ms": 20_000.0, **policy}  # a busy machine must not fail a test
    return RedisLink(RedisPolicy(url=url, **patient), clock)


def run(use, url, clock=time.monotonic, **policy):
    """Run `use(link)` on a new event loop with a new link."""

    async def main():
        link = link_to(url, clock, **policy)
        try:
            return await use(link)
        finally:
            await link.close()

    return asyncio.run(main())


def calls_of(server, command):
    """How often the server was sent `command`."""
    wanted = f"cmdstat_{command}:calls="
    for line in server.command("INFO", "commandstats").decode().splitlines():
        if line.startswith(wanted):
            return int(line[len(wanted) :].split(",")[0])
    return 0


def test_what_was_set_is_got_and_what_was_not_is_none(redis_server):
    async def use(link):
        await link.set(b"a", b"\x00\xff", ttl_s=60)
        return await link.gather_get(b"a"), await link.gather_get(b"b")

    assert run(use, redis_server.url) == (b"\x00\xff", None)
    assert redis_server.command("EXISTS", "paceline:a") == b":1"


def test_keys_of_one_turn_become_one_mget_and_sets_one_pipeline(redis_server):
    async def use(link):
        await asyncio.gather(*(link.set(b"%d" % n, b"v%d" % n, ttl_s=60) for n in range(50)))
        values = await asyncio.gather(*(link.gather_get(b"%d" % n) for n in range(50)))
        return values, link.stats()["pipelines_total"], link.stats()["commands_total"]

    before = calls_of(redis_server, "mget")
    values, pipelines, commands = run(use, redis_server.url)

    assert values == [b"v%d" % n for n in range(50)]
    assert (pipelines, commands) == (2, 100)
    assert calls_of(redis_server, "mget") - before == 1


def test_calls_of_later_turns_travel_together_while_all_connections_are_busy(redis_server):
    async def use(link):
        async def get_later(turns):
            for _ in range(turns):
                await asyncio.sleep(0)
            return await link.gather_get(b"x")

        await asyncio.gather(*(get_later(turns) for turns in range(200)))
        return link.stats()["pipelines_total"]

    assert run(use, redis_server.url) < 200


def test_a_value_is_gone_after_its_time(redis_server):
    async def use(link):
        await link.set(b"a", b"v", ttl_s=100)
        await link.set(b"b", b"v", ttl_s=0.0001)
        await link.delete(b"never there")

    run(use, redis_server.url)

    assert 99_000 < int(redis_server.command("PTTL", "paceline:a")[1:]) <= 100_000
    assert int(redis_server.command("PTTL", "paceline:b")[1:]) <= 1


def test_prefixes_keep_deployments_apart(redis_server):
    async def use(link):
        await link.set(b"a", b"mine", ttl_s=60)

    run(use, redis_server.url, prefix="one:")

    assert run(lambda link: link.gather_get(b"a"), redis_server.url, prefix="two:") is None


def test_a_script_is_sent_once_and_again_to_a_redis_that_forgot_it(redis_server):
    add = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")

    async def use(link):
        results = [await link.eval(add, [b"n"], [2]), await link.eval(add, [b"n"], [3])]
        redis_server.command("SCRIPT", "FLUSH")
        return [*results, await link.eval(add, [b"n"], [4])]

    before = calls_of(redis_server, "eval")

    assert run(use, redis_server.url) == [2, 5, 9]
    assert calls_of(redis_server, "eval") - before == 2


def test_one_refused_command_fails_alone(redis_server):
    redis_server.command("LPUSH", "paceline:list", "x")

    async def use(link):
        script = Script("return redis.call('INCR', KEYS[1])")
        outcomes = await asyncio.gather(
            link.eval(script, [b"list"], []), link.gather_get(b"other"), return_exceptions=True
        )
        return outcomes, link.breaker.state

    (refusal, value), state = run(use, redis_server.url)

    assert isinstance(refusal, ConnectionError)
    assert "refused a command: ResponseError: WRONGTYPE" in str(refusal)
    assert (value, state) == (None, "closed")


def test_a_caller_who_leaves_takes_nobody_along(redis_server):
    async def use(link):
        await link.set(b"a", b"v", ttl_s=60)
        leaver, stayer = link.gather_get(b"a"), link.gather_get(b"a")
        leaver.cancel()
        return await stayer

    assert run(use, redis_server.url) == b"v"


def test_a_redis_that_was_never_there_is_an_error_in_one_line_and_then_skipped(tmp_path):
    async def use(link):
        messages = []
        for _ in range(5):
            with pytest.raises(ConnectionError) as error:
                await link.gather_get(b"a")
            messages.append(str(error.value))
        return messages, link.stats(), link.health()

    messages, stats, health = run(use, f"unix://{tmp_path}/none.sock")

    assert f"Redis at unix://{tmp_path}/none.sock is away" in messages[0]
    assert "failed 3 times in a row (limit 3); try again in" in messages[4]
    assert all("\n" not in message for message in messages)
    assert (stats["failures_total"], stats["skipped_total"], stats["up"]) == (3, 2, 0.0)
    assert (health["status"], health["breaker"]) == ("away", "open")
    assert "none.sock" in str(health["last_error"])


def test_a_restart_is_noticed_and_survived(redis_server):
    clock = Clock()

    async def use(link):
        await link.set(b"a", b"v", ttl_s=60)
        redis_server.stop()
        failures = 0
        while link.breaker.state == "closed":
            with pytest.raises(ConnectionError):
                await link.gather_get(b"a")
            failures += 1
        redis_server.start()
        with pytest.raises(ConnectionError):  # not probed yet
            await link.gather_get(b"a")
        clock.ahead_s += 1.0
        return failures, await link.gather_get(b"a"), link.health()["status"]

    assert run(use, redis_server.url, clock) == (3, None, "ok")


def test_a_redis_that_hangs_costs_the_callers_budget_and_then_nothing(redis_server):
    clock = Clock()

    async def use(link):
        await link.set(b"a", b"v", ttl_s=60)
        redis_server.hang()
        with pytest.raises(TimeoutError, match="did not answer within 5 ms"):
            await link.gather_get(b"a", budget_s=0.005)
        while link.breaker.state == "closed":
            with pytest.raises(OSError, match="Redis at"):
                await link.gather_get(b"a", budget_s=0.005)
        with pytest.raises(ConnectionError, match="try again in"):
            link.gather_get(b"a")  # refused before anything is awaited
        redis_server.resume()
        while True:
            clock.ahead_s += 1.0
            with contextlib.suppress(OSError):
                return await link.gather_get(b"a")

    assert run(use, redis_server.url, clock, timeout_ms=50.0) == b"v"


def test_a_link_works_in_one_event_loop_after_another(redis_server):
    link = link_to(redis_server.url)

    async def use(value):
        before = await link.gather_get(b"a")
        await link.set(b"a", value, ttl_s=60)
        await link.close()
        return before

    assert [asyncio.run(use(b"1")), asyncio.run(use(b"2"))] == [None, b"1"]


def test_a_forked_child_and_its_parent_do_not_read_each_others_replies(redis_server):
    link = link_to(redis_server.url)

    async def hammer(name):
        for n in range(200):
            key = b"%s%d" % (name, n)
            await link.set(key, key, ttl_s=60)
            if await link.gather_get(key) != key:
                return 1
        return 0

    async def parent():
        await link.gather_get(b"connected")
        child = os.fork()
        if child == 0:
            status = 2
            try:
                asyncio.events._set_running_loop(None)
                status = asyncio.new_event_loop().run_until_complete(hammer(b"child"))
            finally:
                os._exit(status)
        mine = await hammer(b"parent")
        await link.close()
        return mine, child

    mine, child = asyncio.run(parent())

    assert (mine, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])) == (0, 0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host", "has the scheme 'http', not redis, rediss or unix"),
        ("localhost:6379", "has the scheme 'localhost'"),
        ("redis://host:six/0", "is not an address (Port could not be cast"),
        ("redis://host:99999/0", "is not an address (Port out of range"),
        ("redis://[::1", "is not an address (Invalid IPv6 URL)"),
        ("redis://host/zero", "has the database '/zero', not a number"),
        ("unix://", "names no socket"),
        ("redis://host/0?sokket_timeout=3", "has a wrong option"),
        ("redis://host/0?db=x", "has a wrong option"),
    ],
)
def test_a_wrong_address_is_refused_when_the_link_is_made(url, said):
    with pytest.raises(ConfigError) as error:
        link_to(url)

    assert said in str(error.value)
    assert str(error.value).startswith("redis.url")
    assert error.value.param == "redis.url"


def test_messages_do_not_tell_the_password():
    link = link_to("rediss://me:secret@cache.example:6380/2")

    assert link.address == "rediss://cache.example:6380/2"
    assert "secret" not in str(link.health())


def test_importing_the_link_does_not_import_redis():
    code = "import sys, paceline.flow.limiter; print('redis' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", code]) == b"False\n"
