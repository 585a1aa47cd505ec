"""A real foreign server, tuned as a black box: nginx with the knobs of examples/tune/nginx.toml."""

import gzip
import urllib.request
from pathlib import Path

import msgspec
import psutil
import pytest

from paceline.base.errors import Unreachable
from paceline.tune.blackbox import BlackBoxSearch
from paceline.tune.knob import Knob
from paceline.tune.knob_file import read_knob_file
from paceline.tune.launched import LaunchedServer

EXAMPLES = Path(__file__).parents[2] / "examples"
KNOBS = read_knob_file(EXAMPLES / "tune/nginx.toml")
LAUNCH = "{} -e stderr -p {{folder}} -c {{files.nginx}}"


@pytest.fixture
def launched(nginx, free_url):
    """The example's nginx, not yet started."""
    with LaunchedServer(LAUNCH.format(nginx), KNOBS, free_url) as server:
        yield server


def ask(url: str) -> tuple[str | None, bytes]:
    """The encoding and the body as it came over the wire."""
    question = urllib.request.Request(f"{url}/glosses.tsv", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(question, timeout=10) as answer:
        return answer.headers["Content-Encoding"], answer.read()


def test_its_knobs_reach_it(launched, free_url):
    """The answer is the same, sent in another way by another number of processes."""
    glosses = (EXAMPLES / "wordnet/glosses.tsv").read_bytes()

    launched.revert()
    encoding, compressed = ask(free_url)
    launched.apply({"gzip": "off", "worker_processes": 2, "sendfile": "on"})
    plain = ask(free_url)

    assert (encoding, gzip.decompress(compressed)) == ("gzip", glosses)
    assert plain == (None, glosses)
    assert len(psutil.Process(launched.pid).children()) == 2


def test_a_search_finds_the_smallest_answer(launched, free_url):
    """Bytes on the wire are a score without noise: the hardest compression wins."""
    search = BlackBoxSearch([knob for knob in KNOBS.knobs if knob.name.startswith("gzip")], budget=9, seed=1)
    launched.revert()
    search.tell({}, len(ask(free_url)[1]))
    while (setting := search.propose()) is not None:
        launched.apply(setting)
        search.tell(setting, len(ask(free_url)[1]))

    assert search.best(1) == [{"gzip_comp_level": 9}]


def test_a_setting_that_it_refuses_does_not_start(nginx, free_url):
    """What nginx says about it is in the error, and the baseline still runs."""
    sendfile = Knob("sendfile", "off", values=("off", "maybe"))
    knobs = (*(knob for knob in KNOBS.knobs if knob.name != "sendfile"), sendfile)

    with LaunchedServer(
        LAUNCH.format(nginx), msgspec.structs.replace(KNOBS, knobs=knobs), free_url
    ) as server:
        with pytest.raises(Unreachable, match=r'ended with 1 before it was ready; .*invalid value "maybe"'):
            server.apply({"sendfile": "maybe"})
        server.revert()

        assert ask(free_url)[0] == "gzip"
