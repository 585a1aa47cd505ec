"""A server that the tuner launches runs with the setting asked for, and never outlives the tuner."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psutil
import pytest

from paceline.base.errors import ConfigError, Unreachable
from paceline.tune.knob import Knob
from paceline.tune.knob_file import KnobFile, ServerText
from paceline.tune.launched import LaunchedServer

SCRIPT = Path(__file__).parent / "little_server.py"
PYTHON = f"{shlex.quote(sys.executable)} -I -S {shlex.quote(str(SCRIPT))} --port {{port}}"
THREADS = Knob("threads", 1, values=(1, 2, 4))
MORE = Knob(
    "more", "", values=("", "--die=1", "--die=4", "--stray", "--stubborn", "--background", "--health=503")
)


@pytest.fixture
def launched(free_url):
    """A server with two knobs, not yet started."""
    knobs = KnobFile(Path("knobs.toml"), (THREADS, MORE), ServerText(stop_timeout_s=0.3, start_timeout_s=10))
    with LaunchedServer(f"{PYTHON} --threads {{threads}} {{more}}", knobs, free_url) as server:
        yield server


def ask(url: str) -> dict:
    """The settings that the server says it has."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def wait_for_end(pid: int) -> bool:
    """Whether the process ends within seconds; a zombie has ended."""
    try:
        process = psutil.Process(pid)
        if process.status() != psutil.STATUS_ZOMBIE:
            process.wait(10)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return process.status() == psutil.STATUS_ZOMBIE
    return True


def test_apply_starts_it_with_the_setting(launched, free_url):
    """And returns when it answers."""
    launched.apply({"threads": 4})

    assert ask(free_url)["threads"] == 4
    assert launched.alive()


def test_apply_of_what_runs_does_nothing(launched, free_url):
    """A change starts it again, and so does the way back to the baseline."""
    launched.apply({"threads": 2})
    first = ask(free_url)["pid"]
    launched.apply({"threads": 2})
    second = ask(free_url)["pid"]
    launched.revert()
    third = ask(free_url)

    assert first == second
    assert (third["pid"], third["threads"]) == (launched.pid, 1)
    assert third["pid"] != first
    assert wait_for_end(first)


def test_a_server_that_died_is_started_again(launched, free_url):
    """The same setting is no reason to leave it dead."""
    launched.apply({"threads": 2})
    pid = launched.pid
    with pytest.raises(OSError):
        ask(f"{free_url}/die")
    assert wait_for_end(pid)
    launched._keeper.wait(10)
    assert not launched.alive()

    launched.apply({"threads": 2})

    assert ask(free_url)["threads"] == 2


def test_one_that_dies_at_its_start_tells_its_last_words(launched, free_url):
    """Its setting is the error's subject; the baseline still can be had."""
    with pytest.raises(Unreachable) as died:
        launched.apply({"more": "--die=1"})

    assert str(died.value) == (
        "the server with more=--die=1 ended with 1 before it was ready; "
        "its last lines: cannot run with mode fast: out of memory"
    )
    assert not launched.alive()
    launched.revert()
    assert ask(free_url)["threads"] == 1


def test_one_that_goes_to_the_background_is_ended(launched):
    """It would be out of our hands."""
    with pytest.raises(
        Unreachable, match="ended with 0 before it was ready, as if it went to the background"
    ):
        launched.apply({"more": "--background"})

    assert not launched._readiness.listening()


def test_one_that_never_gets_ready_is_ended(free_url):
    """The message says what is missing, for how long, and which setting to raise."""
    quick = ServerText(ready="/health", start_timeout_s=0.6)
    with LaunchedServer(f"{PYTHON} {{more}}", KnobFile(Path("k.toml"), (MORE,), quick), free_url) as server:
        with pytest.raises(Unreachable) as late:
            server.apply({"more": "--health=503"})
        pid = server.pid

    assert "is not ready after 0.6 s: /health answers 503; raise server.start_timeout_s" in str(late.value)
    assert wait_for_end(pid)


def test_a_value_out_of_range_stops_nothing(launched, free_url):
    """It is refused while the server goes on as it is."""
    launched.apply({"threads": 2})

    with pytest.raises(ConfigError, match=r"threads = 3: knobs\.toml allows one of 1, 2, 4"):
        launched.apply({"threads": 3})

    assert ask(free_url)["threads"] == 2


def test_a_port_in_use_is_refused(launched, free_url):
    """Or the wrong server would be measured."""
    taken = socket.create_server(("127.0.0.1", int(free_url.rpartition(":")[2])))

    with taken, pytest.raises(ConfigError, match="another server listens there already; stop it, or take"):
        launched.revert()


def test_a_program_that_is_not_there_is_named(free_url):
    """With what the system says about it."""
    server = LaunchedServer("no-such-server {threads}", KnobFile(Path("k.toml"), (THREADS,)), free_url)

    with server, pytest.raises(ConfigError, match="no-such-server cannot be run: No such file or directory"):
        server.revert()


@pytest.mark.parametrize("url", ["nginx", "ftp://x", "http://", "http://x:99999"])
def test_a_url_that_is_none_is_refused(url):
    """Before anything is started."""
    with pytest.raises(ConfigError, match="expected a URL such as"):
        LaunchedServer("serve {threads}", KnobFile(Path("k.toml"), (THREADS,)), url)


def test_close_ends_what_left_the_group(launched, free_url):
    """A process that the server started in a session of its own ends with it."""
    launched.apply({"more": "--stray"})
    told = ask(free_url)

    launched.close()

    assert wait_for_end(told["stray"])
    assert wait_for_end(told["pid"])


def test_close_insists(launched, free_url):
    """SIGKILL follows when the stop signal is ignored."""
    launched.apply({"more": "--stubborn"})
    pid = ask(free_url)["pid"]

    launched.close()

    assert wait_for_end(pid)


OWNER = """
import os, sys
from pathlib import Path
from paceline.tune.knob import Knob
from paceline.tune.knob_file import KnobFile
from paceline.tune.launched import LaunchedServer

more = Knob("more", "", values=("", "--stray", "--stubborn"))
server = LaunchedServer(sys.argv[1], KnobFile(Path("k.toml"), (more,)), sys.argv[2])
server.apply({"more": sys.argv[3]})
if os.fork() == 0:
    sys.stdin.read()  # as a worker of the load generator: it has a copy of everything that is open
    os._exit(0)
print(server._keeper.pid, server._folder.name, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("more", ["", "--stray"])
def test_the_server_ends_when_its_owner_is_killed(free_url, more):
    """kill -9 of the tuner while a forked worker of it goes on: no server is left on trial settings."""
    command = [sys.executable, "-c", OWNER, f"{PYTHON} {{more}}", free_url, more]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        keeper, folder = owner.stdout.readline().decode().split()
        told = ask(free_url)

        os.kill(owner.pid, signal.SIGKILL)

        assert wait_for_end(told["pid"])
        assert told["stray"] is None or wait_for_end(told["stray"])
        assert wait_for_end(int(keeper))
        assert not Path(folder).exists()


def test_the_server_ends_when_its_keeper_is_killed(launched, free_url):
    """The tuner then does what the keeper could not."""
    launched.revert()
    pid = ask(free_url)["pid"]
    launched._keeper.kill()
    launched._keeper.wait(10)

    assert not launched.alive()
    launched.close()
    assert wait_for_end(pid)
