"""Knobs of a foreign server are read from TOML; what is wrong is said in one line."""

from pathlib import Path

import pytest

from paceline.base.errors import ConfigError
from paceline.tune.knob import Knob
from paceline.tune.knob_file import KnobFile, ServerText, read_knob_file

GOOD = """
[knobs.threads]
values = [1, 2, 4]
baseline = 1

[knobs.share]
low = 0.5
high = 0.95
baseline = 0.9

[knobs."batch.size"]
low = 1
high = 256
scale = "log"
baseline = 32
quality = true

[server]
ready = "/health"
start_timeout_s = 5
stop_signal = "QUIT"

[files]
"server.conf" = "threads {threads};"
"""


@pytest.fixture
def read(tmp_path):
    """Read a text as a knob file."""

    def read(text: str) -> KnobFile:
        file = tmp_path / "knobs.toml"
        file.write_text(text)
        return read_knob_file(file)

    return read


def test_a_file_of_knobs(read, tmp_path):
    """Choices, ranges, how the server is known to be ready, and the files it reads."""
    assert read(GOOD) == KnobFile(
        tmp_path / "knobs.toml",
        (
            Knob("threads", 1, values=(1, 2, 4), live=False),
            Knob("share", 0.9, low=0.5, high=0.95, live=False),
            Knob("batch.size", 32, low=1, high=256, scale="log", integer=True, quality=True, live=False),
        ),
        ServerText(ready="/health", start_timeout_s=5, stop_signal="QUIT"),
        {"server.conf": "threads {threads};"},
    )


def test_a_range_written_in_integers_is_of_integers(read):
    """A decimal point anywhere makes it real, and `integer` overrules both."""
    kinds = [
        read(f"[knobs.a]\nlow = {low}\nhigh = 8\nbaseline = 2\n{more}").knobs[0].integer
        for low, more in [("1", ""), ("1.0", ""), ("1.0", "integer = true"), ("1", "integer = false")]
    ]

    assert kinds == [True, False, True, False]


def test_a_setting_is_completed_with_the_baseline(read):
    """A setting holds only what differs."""
    assert read(GOOD).complete({"threads": 4}) == {"threads": 4, "share": 0.9, "batch.size": 32}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"threads": 3}, "threads = 3: {} allows one of 1, 2, 4"),
        ({"share": 0.99}, "share = 0.99: {} allows a number from 0.5 to 0.95"),
        ({"batch.size": 1.5}, "batch.size = 1.5: {} allows an integer from 1 to 256"),
        ({"threads": True}, "threads = true: {} allows one of 1, 2, 4"),
        ({"thread": 1}, "thread: no such knob in {}; it has threads, share, batch.size"),
    ],
)
def test_a_setting_out_of_range_is_refused(read, tmp_path, setting, message):
    """One line with knob, value, file and limit."""
    with pytest.raises(ConfigError) as refused:
        read(GOOD).complete(setting)

    assert str(refused.value) == message.format(tmp_path / "knobs.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[knobs.a]\nvalues = [1]", "a: no baseline; add baseline = the value that the server has now"),
        ("[knobs.a]\nvalues = [1, 2]\nbaseline = 3", "a: baseline = 3: expected one of 1, 2; add it to them"),
        ("[knobs.a]\nlow = 1\nhigh = 8\nbaseline = 9", "a: baseline = 9: expected an integer from 1 to 8"),
        ('[knobs.a]\nlow = 1\nhigh = 8\nbaseline = "x"', 'a: baseline = "x": expected a number from 1 to 8'),
        ("[knobs.a]\nlow = 1\nbaseline = 1", "a: low = 1: a knob needs values = [...], or both low and high"),
        ("[knobs.a]\nbaseline = 1", "a: a knob needs values = [...], or both low and high"),
        ("[knobs.a]\nlow = 8\nhigh = 8\nbaseline = 8", "a: high = 8: expected a finite number above low = 8"),
        ("[knobs.a]\nlow = 0\nhigh = inf\nbaseline = 1", "a: high = Infinity: expected a finite number"),
        (
            '[knobs.a]\nlow = 0\nhigh = 8\nscale = "log"\nbaseline = 1',
            'a: low = 0: scale = "log" needs a number above 0',
        ),
        (
            "[knobs.a]\nlow = 0.5\nhigh = 8\ninteger = true\nbaseline = 1",
            "a: low = 0.5: integer = true needs whole",
        ),
        (
            "[knobs.a]\nvalues = [1, 2]\nhigh = 3\nbaseline = 1",
            "a: high = 3: a knob has either values, or low and high",
        ),
        (
            "[knobs.a]\nvalues = [1, 1]\nbaseline = 1",
            "a: values = [1, 1]: a value stands there twice; keep one",
        ),
        ("[knobs.a]\nvalues = [1.0, nan]\nbaseline = 1", "a: values = [1.0, NaN]: expected finite numbers"),
        ("[knobs.a]\nvalues = []\nbaseline = 1", "a: values: expected array of length >= 1"),
        ("[knobs.a]\nvalues = [1]\nbaseline = 1\nlive = true", "a: object contains unknown field live"),
        (
            "[knobs.batch.size]\nvalues = [1]\nbaseline = 1",
            'a table inside a knob; if its name has dots, write [knobs."batch.size"]',
        ),
        (
            "[knobs.port]\nvalues = [1]\nbaseline = 1",
            "port: no name for a knob (taken: files, folder, here, port, settings)",
        ),
        ('[knobs."a b"]\nvalues = [1]\nbaseline = 1', "a b: no name for a knob"),
        ("[knobs]", "knobs: expected object of length >= 1"),
        ("", "object missing required field knobs"),
        ('[server]\nstart_timeout_s = "1m"', "server.start_timeout_s: expected float, got str"),
        (
            '[server]\nready = "health"',
            'server.ready = "health": expected "tcp", a path such as "/health", or a URL',
        ),
        ('[server]\nstop_signal = "KILL"', "server.stop_signal: invalid enum value 'KILL'"),
        ('[files]\n"../x" = ""', "files.../x: expected a file name of letters, digits"),
        ("[knobs", "is not TOML: Expected ']'"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(read, tmp_path, text, message):
    """With the file, the knob, the value and the way out."""
    if text.startswith(("[server]", "[files]")):
        text += "\n[knobs.a]\nvalues = [1]\nbaseline = 1"

    with pytest.raises(ConfigError) as refused:
        read(text)

    assert message in str(refused.value)
    assert str(tmp_path / "knobs.toml") in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    """And why it cannot be read."""
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory"):
        read_knob_file(Path(tmp_path / "none.toml"))
