"""A URL becomes an address, or is refused with a way out."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.measure.load.address import address
from paceline.measure.plan import Target


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8080", ("localhost", 8080, False, "/", "localhost:8080")),
        ("http://localhost", ("localhost", 80, False, "/", "localhost")),
        ("https://Example.org/a/b?c=d&e=%20", ("example.org", 443, True, "/a/b?c=d&e=%20", "example.org")),
        ("https://example.org:80/", ("example.org", 80, True, "/", "example.org:80")),
        ("http://[::1]:9000/x", ("::1", 9000, False, "/x", "[::1]:9000")),
        ("http://[fe80::1%eth0]/", ("fe80::1%eth0", 80, False, "/", "[fe80::1]")),
        ("http://127.0.0.1?x=1", ("127.0.0.1", 80, False, "/?x=1", "127.0.0.1")),
        (
            "http://bücher.example/straße",
            ("xn--bcher-kva.example", 80, False, "/stra%C3%9Fe", "xn--bcher-kva.example"),
        ),
        ("HTTP://under_score:1/;p=1:@!", ("under_score", 1, False, "/;p=1:@!", "under_score:1")),
    ],
)
def test_a_url_is_taken_apart(url, expected):
    found = address(Target(url))

    assert (found.host, found.port, found.tls, found.path, found.host_header) == expected


def test_the_certificate_must_name_the_host_without_its_interface():
    assert address(Target("https://[fe80::1%eth0]/")).server_name == "fe80::1"
    assert address(Target("https://example.org/")).server_name == "example.org"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://h", "/v1/chat/completions"),
        ("http://h/", "/v1/chat/completions"),
        ("http://h/v1", "/v1/chat/completions"),
        ("http://h/v1/", "/v1/chat/completions"),
        ("http://h/openai/v1", "/openai/v1/chat/completions"),
        ("http://h?key=1", "/v1/chat/completions?key=1"),
        ("http://h/mine", "/mine"),
        ("http://h/v1/mine", "/v1/mine"),
        ("http://h/serve1", "/serve1"),
    ],
)
def test_an_ai_task_has_its_usual_path_below_a_base_url(url, path):
    assert address(Target(url), "chat").path == path


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:8080", "no scheme; write http://localhost:8080"),
        ("", "no scheme"),
        ("ftp://h/", "ftp:// is not measured; http:// and https:// are"),
        ("unix:///tmp/x", "unix:// is not measured"),
        ("http://", "no host name"),
        ("http:///path", "no host name"),
        ("http://h:0/", "port is not a number from 1 to 65535"),
        ("http://h:70000/", "port is not a number"),
        ("http://h:eighty/", "port is not a number"),
        ("http://h/a b", "blanks or control"),
        ("http://h/a\r\nX: y", "blanks or control"),
        ("http://h/#part", "never sent"),
        ("http://h/#", "never sent"),
        ("http://[::1/", "ipv6"),
        ("http://[zz::1]/", "IPv6"),
        ("http://a,b/", "'a,b' is no host name"),
        ("http://é..x/", "host name cannot be"),
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url, message):
    with pytest.raises(ConfigError, match=f"(?i){message}") as refusal:
        address(Target(url))

    assert refusal.value.param == "target.url"


def test_a_password_in_the_url_is_refused_and_not_shown():
    with pytest.raises(ConfigError, match="Authorization") as refusal:
        address(Target("http://me:secret@h/"))

    assert "secret" not in refusal.value.message


@given(
    st.one_of(
        st.text(),
        st.text().map(lambda text: f"http://{text}"),
        st.text().map(lambda text: f"http://h/{text}"),
    )
)
def test_any_text_is_an_address_of_plain_ascii_or_a_config_error(url):
    with suppress(ConfigError):
        found = address(Target(url))
        line = found.path + found.host_header
        assert line.isascii()
        assert line.isprintable()
        assert " " not in line
