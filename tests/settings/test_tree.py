"""The tree: its leaves, its digest, and settings that do not go together."""

import msgspec
import pytest

from paceline.base.errors import ConfigError
from paceline.settings import Settings, digest, iter_knobs, leaves, load


def with_sets(*sets):
    return load(environ={}, sets=sets).settings


def test_leaves_are_the_knobs_while_tables_are_empty():
    assert [name for name, _, _ in leaves(Settings())] == [knob.name for knob in iter_knobs()]


def test_leaves_show_a_tables_entries_one_by_one():
    settings = with_sets("limits.endpoints./v1/infer.rpm=500", "auth.tokens.alice=abc")

    shown = {
        name: value
        for name, _, value in leaves(settings)
        if name.startswith(("limits.endpoints", "auth.tokens"))
    }

    assert shown == {
        "auth.tokens.alice": "abc",
        'limits.endpoints."/v1/infer".rpm': 500,
        'limits.endpoints."/v1/infer".rph': 0,
    }


def test_settings_travel_to_a_worker_process_unchanged():
    settings = with_sets("limits.endpoints./v1/infer.rpm=500", "embed.batch.max_size=3")

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(settings), type=Settings) == settings


def test_digest_is_the_same_however_the_values_came_to_be():
    assert digest(with_sets("embed.batch.max_size=32")) == digest(Settings())


def test_digest_changes_with_any_setting():
    assert digest(with_sets("embed.batch.max_size=33")) != digest(Settings())


def test_digest_tells_nothing_about_secrets():
    assert digest(with_sets("auth.token=abc", "auth.tokens.alice=x")) == digest(
        with_sets("auth.tokens.alice=y")
    )


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            ["tls.cert_file=a.pem"],
            "tls.cert_file = 'a.pem' (from --set): TLS needs tls.key_file too; set both or neither",
        ),
        (
            ["tls.key_file=k.pem"],
            "tls.key_file = 'k.pem' (from --set): TLS needs tls.cert_file too; set both or neither",
        ),
        (
            ["redis.url=http://:pw@host"],
            "redis.url = *** (from --set): expected an address that starts with redis://, rediss:// or unix://",
        ),
        (
            ["limits.endpoints.v1/infer.rpm=3"],
            'limits.endpoints."v1/infer" (from --set): a path starts with a slash; write "/v1/infer"',
        ),
        (
            ["limits.tokens.alise.rpm=3", "auth.tokens.alice=x"],
            (
                "limits.tokens.alise (from --set): no bearer token has this name; "
                "known are default, alice (default is auth.token)"
            ),
        ),
        (
            ["auth.tokens.alice="],
            "auth.tokens.alice = *** (from --set): an empty token would let everybody in; give it a value or remove it",
        ),
        (
            ["auth.token=x", "auth.tokens.alice=x"],
            (
                "auth.tokens.alice = *** (from --set): the same token as auth.token; "
                "limits cannot tell them apart, give each its own"
            ),
        ),
    ],
)
def test_what_does_not_go_together_is_refused(sets, message):
    with pytest.raises(ConfigError) as caught:
        with_sets(*sets)

    assert caught.value.message == message
