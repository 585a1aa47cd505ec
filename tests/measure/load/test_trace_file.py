"""Traces as they come, and what is said of those that cannot be read."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.load.trace_file import Asked, read_trace

MS = 1_000_000


@pytest.fixture
def read(tmp_path):
    """Write a trace and read it: (arrivals in ms since the first, what each asks)."""

    def make(content, name="t"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        found = read_trace(str(file))
        first = found.at_ns[0]
        return [(at - first) / MS for at in found.at_ns], [found.asks[number] for number in found.ask]

    return make


# -- formats ----------------------------------------------------------------------------------------------------------


def test_azures_traces_of_2023(read):
    at_ms, asked = read(
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2023-11-16 18:17:03.9799600,4808,10\r\n"
        "2023-11-16 18:17:04.0319600,3180,8\r\n"
    )

    assert at_ms == [0, pytest.approx(52)]
    assert asked == [Asked(4808, 10), Asked(3180, 8)]


def test_azures_traces_of_2024(read):
    at_ms, asked = read(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        "2024-05-10 00:00:00.009930+00:00,2162,5\n"
        "2024-05-10 00:00:00.017335+00:00,2399,6\n"
    )

    assert at_ms == [0, 7.405]
    assert asked == [Asked(2162, 5), Asked(2399, 6)]


def test_mooncakes_traces_count_milliseconds(read):
    at_ms, asked = read(
        '{"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": [46, 47]}\n'
        '{"timestamp": 30535, "input_length": 6472, "output_length": 26, "hash_ids": [46, 2353]}\n'
    )

    assert at_ms == [0, 3053]
    assert asked == [Asked(6955, 52), Asked(6472, 26)]


def test_burstgpts_traces_count_seconds(read):
    at_ms, asked = read(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,230,1317,Conversation log\n"
    )

    assert at_ms == [0, 40_000]
    assert asked == [Asked(472, 18), Asked(1087, 230)]


def test_our_access_log_counts_seconds_and_its_lines_differ_in_what_they_say(read):
    at_ms, asked = read(
        '{"at":1718000000.5,"method":"GET","path":"/health","status":200,"duration_ms":0.1,"request_id":"a-1"}\n'
        '{"at":1718000000.75,"method":"POST","path":"/v1/embeddings","status":200,"duration_ms":3.2,'
        '"request_id":"a-2","prompt_tokens":12,"rows":2,"priority":"normal","tier":"miss"}\n'
    )

    assert at_ms == [0, 250]
    assert asked == [
        Asked(path="/health", method="GET"),
        Asked(prompt=12, rows=2, path="/v1/embeddings", method="POST"),
    ]


@pytest.mark.parametrize(
    ("name", "one_second"),
    [("at_s", "1"), ("Timestamp_MS", "1000"), ("arrived-at us", "1e6"), ("ts_ns", "1000000000")],
)
def test_the_unit_may_be_in_the_name(read, name, one_second):
    assert read(f"{name}\n0\n{one_second}\n")[0] == [0, 1000]
    assert read(f'{{"{name}": 0}}\n{{"{name}": {one_second}}}\n')[0] == [0, 1000]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_fields_are_separated_as_the_header_is(read, mark):
    assert read(f"at_s{mark}rows\n1{mark}2\n3{mark}4\n") == ([0, 2000], [Asked(rows=2), Asked(rows=4)])


def test_a_byte_order_mark_empty_lines_and_quoted_line_breaks_do_no_harm(read):
    content = '\ufeff\n\nat_s,body\n0,"one\ntwo ""three"""\n\n1,\n'

    assert read(content) == ([0, 1000], [Asked(body=b'one\ntwo "three"'), Asked()])


def test_nanoseconds_of_today_keep_every_digit(read):
    assert read("ts_ns\n1718000000000000001\n1718000000001000001\n")[0] == [0, 1]


def test_instants_with_zones_are_compared_as_instants(read):
    assert read("time\n2024-01-01T12:00:00+02:00\n2024-01-01T10:00:01Z\n")[0] == [0, 1000]


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=30))
def test_whole_microseconds_are_read_exactly_in_the_order_of_the_file(tmp_path_factory, times):
    file = tmp_path_factory.mktemp("t") / "t.csv"
    file.write_text("\n".join(["at_us", *map(str, times)]))

    assert [at // 1000 for at in read_trace(str(file)).at_ns] == times


# -- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "timestamp\n1.5\n",
            "t line 2: timestamp '1.5' is a number without a unit; rename the column timestamp_s",
        ),
        (
            '{"ts": 5}\n',
            "t line 1: ts 5 is a number without a unit; rename the column ts_s (seconds) or ts_ms",
        ),
        ("at_s\n1\nabc\n", "t line 3: at_s 'abc' is no time; write seconds, milliseconds or ISO 8601"),
        ("at_s,rows\n1,1\n,1\n", "t line 3: at_s is missing"),
        ('{"at_s": null}\n', "t line 1: at_s is missing"),
        ('{"at_s": true}\n', "t line 1: at_s True is no time"),
        ("at_s\nnan\n", "t line 2: at_s 'nan' is no time"),
        ("at_s\n1e30\n", "t line 2: at_s '1e30' is out of range; check its unit"),
        (
            "time\n2024-01-01\n2024-01-01T00:00:01Z\n",
            "t line 3: time '2024-01-01T00:00:01Z' is with a zone, the lines",
        ),
        (
            '{"at_s": 1}\n{"time": "2024-01-01"}\n',
            "t line 2: time '2024-01-01' is without a zone, the lines before",
        ),
        ("a,b\n1,2\n", "t line 2: there is no arrival time among 'a', 'b'; name a column timestamp_s"),
        ('{"at_s": 1}\n{"rows": 1}\n', "t line 2: there is no arrival time among 'rows'"),
        ("at_s,ts_s\n1,2\n", "'at_s' and 'ts_s' are both arrival times; keep one"),
        (
            "at_s,max_tokens,output_length\n1,2,3\n",
            "'max_tokens' and 'output_length' both tell the answer; keep one",
        ),
        ("at_s,rows\n1,2,3\n", "t line 2: has 3 fields, the header has 2"),
        ('at_s,body\n1,"a\n', "is not CSV"),
        (
            "at_s,max_tokens\n1,-2\n",
            "t line 2: max_tokens '-2' is no length; write a whole number from 0 to 1,000,000",
        ),
        ("at_s,max_tokens\n1,2.5\n", "max_tokens '2.5' is no length"),
        (
            "at_s,prompt_words\n1,100001\n",
            "prompt_words '100001' is no length; write a whole number from 0 to 100,000",
        ),
        ('{"at_s": 1, "path": 3}\n', "t line 1: path 3 is no text"),
        ("at_s,path\n1,x\n", "t line 2: path 'x' does not start with a slash"),
        ('{"at_s": 1}\n{"at_s": 2\n', "t line 2: '{\"at_s\": 2' is not JSON"),
        ('{"at_s": 1}\n[2]\n', "t line 2: '[2]' is not an object"),
        ("", "t: there is no request in it"),
        ("\n\n", "t: there is no request in it"),
        ("at_s\n", "t: there is no request in it"),
        (b"at_s\n\xff\n", "is not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\x00", "is not UTF-8 text"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line_and_a_way_out(read, content, message):
    with pytest.raises(ConfigError) as refusal:
        read(content)

    assert message in refusal.value.message
    assert "\n" not in refusal.value.message


@pytest.mark.parametrize(("path", "why"), [("no/such", "No such file"), ("/tmp", "Is a directory")])
def test_a_file_that_is_not_there_is_refused(path, why):
    with pytest.raises(ConfigError, match=f"trace '{path}': {why}"):
        read_trace(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_trace_or_a_config_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("t") / "t"
    file.write_bytes(content)

    with suppress(ConfigError):
        assert len(read_trace(str(file)).at_ns) > 0


@given(
    st.lists(
        st.sampled_from([*'{}[]",:;\t\n 1e-', "at_s", "time", '{"at_s":', "2024-01-01", "rows"]), max_size=25
    )
)
def test_nearly_right_text_is_a_trace_or_a_config_error(tmp_path_factory, pieces):
    file = tmp_path_factory.mktemp("t") / "t"
    file.write_text("".join(pieces))

    with suppress(ConfigError):
        assert len(read_trace(str(file)).at_ns) > 0
