"""Sources: each overrides the one before, each value knows where it came from, nothing wrong is swallowed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paceline.base.errors import ConfigError
from paceline.settings import ALIASES, Settings, iter_knobs, load
from paceline.settings.sources import toml_lines


@pytest.fixture(autouse=True)
def _empty_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def refusal(**arguments):
    with pytest.raises(ConfigError) as caught:
        load(**{"environ": {}, **arguments})
    return caught.value.message


def toml_file(tmp_path, text):
    file = tmp_path / "my.toml"
    file.write_text(text)
    return file


def test_without_sources_all_is_default():
    loaded = load(environ={})

    assert (loaded.settings, loaded.origins, loaded.origin("serve.port")) == (Settings(), {}, "default")


def test_each_source_wins_over_the_one_before(tmp_path):
    file = toml_file(tmp_path, "[embed.batch]\nmax_size = 1\nmax_cost = 1\nmax_wait_ms = 1\nbucket = 1\n")
    environ = {
        "BATCH_MAX_SIZE": "2",
        "BATCH_FLUSH_TIMEOUT_MS": "2",
        "PACELINE_EMBED__BATCH__MAX_COST": "3",
        "PACELINE_EMBED__BATCH__MAX_WAIT_MS": "3",
    }

    loaded = load(file, environ=environ, sets=["embed.batch.max_cost=4"])

    batch = loaded.settings.embed.batch
    assert (batch.bucket, batch.max_size, batch.max_wait_ms, batch.max_cost) == (1, 2, 3.0, 4)
    assert loaded.origins == {
        "embed.batch.bucket": f"{file}:5",
        "embed.batch.max_size": "environment BATCH_MAX_SIZE",
        "embed.batch.max_wait_ms": "environment PACELINE_EMBED__BATCH__MAX_WAIT_MS",
        "embed.batch.max_cost": "--set",
    }


def test_a_later_set_wins():
    loaded = load(environ={}, sets=["serve.port=1", "serve.port=2"])

    assert loaded.settings.serve.port == 2


def test_the_file_of_the_working_directory_is_read(tmp_path):
    (tmp_path / "paceline.toml").write_text("[serve]\nport = 81\n")

    loaded = load(environ={})

    assert (loaded.settings.serve.port, loaded.origin("serve.port")) == (81, "paceline.toml:2")


def test_a_named_file_replaces_the_one_of_the_working_directory(tmp_path):
    (tmp_path / "paceline.toml").write_text("[serve]\nport = 81\n")
    file = toml_file(tmp_path, "[serve]\nhost = '::'\n")

    by_option = load(file, environ={}).settings.serve
    by_variable = load(environ={"PACELINE_CONFIG": str(file)}).settings.serve

    assert (by_option.host, by_option.port, by_variable) == ("::", 8080, by_option)


@pytest.mark.parametrize(
    ("backend", "l2", "l3"), [("memory", False, False), ("disk", True, False), ("redis", False, True)]
)
def test_cache_backend_switches_the_tiers(backend, l2, l3):
    cache = load(environ={"CACHE_BACKEND": backend}).settings.cache

    assert (cache.l2.enabled, cache.l3.enabled) == (l2, l3)


def test_every_alias_names_settings_that_exist():
    names = {knob.name for knob in iter_knobs()}
    targets = {
        setting
        for target in ALIASES.values()
        for setting in (
            [target] if isinstance(target, str) else [name for sets in target.values() for name in sets]
        )
    }

    assert targets - names == set()


def test_every_well_known_name_of_the_sources_is_understood():
    settings = load(
        environ={
            "REDIS_URL": "redis://cache:6379/1",
            "CACHE_DEFAULT_TTL": "60",
            "RATE_LIMIT_RPM": "500",
            "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "7",
            "CIRCUIT_BREAKER_TIMEOUT_SEC": "9",
            "API_TOKEN": "abc",
        }
    ).settings

    assert (settings.redis.url, settings.cache.ttl.warm_s, settings.limits.rpm) == (
        "redis://cache:6379/1",
        60.0,
        500,
    )
    assert (settings.embed.breaker.failure_threshold, settings.embed.breaker.open_s) == (7, 9.0)
    assert settings.auth.token == "abc"


def test_tables_gather_entries_from_all_sources(tmp_path):
    file = toml_file(tmp_path, '[limits.endpoints."/a"]\nrpm = 1\nrph = 1\n')
    environ = {"PACELINE_AUTH__TOKENS__ALICE": "x", "PACELINE_LIMITS__ENDPOINTS": '{"/b" = {rpm = 2}}'}

    settings = load(file, environ=environ, sets=["limits.endpoints./a.rpm=3", "auth.tokens.bob=y"]).settings

    limits = {path: (limit.rpm, limit.rph) for path, limit in settings.limits.endpoints.items()}
    assert (limits, settings.auth.tokens) == ({"/a": (3, 1), "/b": (2, 0)}, {"alice": "x", "bob": "y"})


@pytest.mark.parametrize("spelling", ["gzip, zstd", '["gzip", "zstd"]', "gzip zstd"])
def test_lists_are_spelled_with_commas_or_as_toml(spelling):
    compression = load(environ={}, sets=[f"compression.algorithms={spelling}"]).settings.compression

    assert list(compression.algorithms) == ["gzip", "zstd"]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            "embed.batch.max_cost=abc",
            "embed.batch.max_cost = 'abc' (from --set): expected an integer 0..1048576",
        ),
        ("serve.port=70000", "serve.port = '70000' (from --set): expected an integer 0..65535"),
        ("cache.ttl.hot_s=inf", "cache.ttl.hot_s = 'inf' (from --set): expected a number > 0"),
        ("cache.ttl.hot_s=nan", "cache.ttl.hot_s = 'nan' (from --set): expected a number > 0"),
        ("cache.enabled=on", "cache.enabled = 'on' (from --set): expected true or false"),
        (
            "embed.precision=fp8",
            "embed.precision = 'fp8' (from --set): expected one of auto, fp32, bf16, int8",
        ),
        (
            "compression.algorithms=gzip,br",
            "compression.algorithms = 'gzip,br' (from --set): expected a list of zstd, gzip",
        ),
        (
            "limits.endpoints=500",
            "limits.endpoints = 500 (from --set): expected a table of rpm, rph, spelled as in TOML: {key = value}",
        ),
        (
            "cache.l1=x",
            (
                "cache.l1 = 'x' (from --set): expected a table with any of enabled, max_bytes, eviction, "
                "spelled as in TOML: {key = value}"
            ),
        ),
        (
            "auth.tokens=abc",
            "auth.tokens = *** (from --set): expected a table, spelled as in TOML: {key = value}",
        ),
        (
            "embed.bacth.max_size=1",
            "embed.bacth.max_size (from --set): no such setting; did you mean embed.batch.max_size?",
        ),
        ("max_cost=1", "max_cost (from --set): no such setting; did you mean embed.batch.max_cost?"),
        ("server.port=1", "server.port (from --set): no such setting; did you mean serve.port?"),
        ("qqq=1", "qqq (from --set): no such setting; `paceline config reference` lists all"),
        ("serve.port.x=1", "serve.port.x (from --set): no such setting; did you mean serve.port?"),
        ("serve.port", "--set serve.port: expected NAME=VALUE, for example --set embed.batch.max_size=64"),
        ("=1", "--set =1: expected NAME=VALUE, for example --set embed.batch.max_size=64"),
    ],
)
def test_a_wrong_set_is_refused_with_a_way_out(sets, message):
    assert refusal(sets=[sets]) == message


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"PACELINE_EMBED__BATCH__MAX_COST": "abc"},
            (
                "embed.batch.max_cost = 'abc' (from environment PACELINE_EMBED__BATCH__MAX_COST): "
                "expected an integer 0..1048576"
            ),
        ),
        (
            {"BATCH_MAX_SIZE": "0"},
            "embed.batch.max_size = '0' (from environment BATCH_MAX_SIZE): expected an integer 1..4096",
        ),
        (
            {"CACHE_BACKEND": "disc"},
            "CACHE_BACKEND = 'disc' (from environment CACHE_BACKEND): expected one of memory, disk, redis",
        ),
        (
            {"PACELINE_EMBED_BATCH_MAX_COST": "1"},
            (
                "PACELINE_EMBED_BATCH_MAX_COST (from environment): no such setting; "
                "did you mean PACELINE_EMBED__BATCH__MAX_COST?"
            ),
        ),
        (
            {"PACELINE_CONFIF": "1"},
            "PACELINE_CONFIF (from environment): no such setting; did you mean PACELINE_CONFIG?",
        ),
        (
            {"PACELINE_PORT": "80"},
            "PACELINE_PORT (from environment): no such setting; did you mean PACELINE_SERVE__PORT?",
        ),
    ],
)
def test_a_wrong_variable_is_refused_with_a_way_out(environ, message):
    assert refusal(environ=environ) == message


def test_variables_that_are_not_settings_are_left_alone():
    environ = {
        "HOME": "/",
        "PACELINE_DEBUG": "1",
        "PACELINE_REQUIRE_REDIS": "1",
        "PACELINE_REQUIRE_NGINX": "1",
        "PACELINE_SERVICE_HOST": "10.0.0.1",
        "PACELINE_SERVICE_PORT_HTTP": "80",
        "PACELINE_PORT": "tcp://10.0.0.1:80",
        "PACELINE_PORT_80_TCP_ADDR": "10.0.0.1",
    }

    assert load(environ=environ).settings == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("serve = 3", "serve = 3 (from {}:1): expected a table with any of {}"),
        ("[serve]\n\nport = '80'", "serve.port = '80' (from {}:3): expected an integer 0..65535"),
        ("serve.port = true", "serve.port = True (from {}:1): expected an integer 0..65535"),
        (
            "[embed.batch]\nmax_szie = 3",
            "embed.batch.max_szie (from {}:2): no such setting; did you mean embed.batch.max_size?",
        ),
        ("[embed.bach]\nmax_size = 3", "embed.bach (from {}:1): no such setting; did you mean embed.batch?"),
        (
            '[limits.endpoints."/a"]\nrmp = 3',
            'limits.endpoints."/a".rmp (from {}:2): no such setting; did you mean limits.endpoints."/a".rpm?',
        ),
        ("[auth]\ntoken = 3", "auth.token = *** (from {}:2): expected a text"),
        ("a = = 3", "settings file {} is not TOML: Invalid value (at line 1, column 5)"),
    ],
)
def test_a_wrong_file_is_refused_with_the_line(tmp_path, text, message):
    file = toml_file(tmp_path, text)

    assert refusal(config=file) == message.format(file, ", ".join(Settings().serve.__struct_fields__))


def test_a_missing_file_is_refused(tmp_path):
    missing = tmp_path / "none.toml"

    assert refusal(config=missing) == f"settings file {missing}: No such file or directory"
    assert refusal(environ={"PACELINE_CONFIG": str(missing)}) == (
        f"settings file {missing} (from environment PACELINE_CONFIG): No such file or directory"
    )


def test_a_long_value_is_shown_in_part():
    message = refusal(sets=["serve.port=" + "9" * 500])

    assert len(message) < 200


@given(st.text())
def test_whatever_follows_set_is_a_setting_or_a_config_error(text):
    loaded = None
    with suppress(ConfigError):
        loaded = load(environ={}, sets=[text])

    assert loaded is None or loaded.origins


@given(st.text(), st.text())
def test_whatever_is_in_the_environment_is_a_setting_or_a_config_error(name, value):
    loaded = None
    with suppress(ConfigError):
        loaded = load(environ={f"PACELINE_{name}": value, "API_TOKEN": value})

    assert loaded is None or loaded.settings.auth.token == value


def test_lines_are_found_for_tables_and_keys():
    text = '# top\n[a.b] # note\nc = 1\n"d e" = """\nx = 1\n"""\n[f]\ng.h = {i = 2}\n'

    lines = toml_lines(text)

    assert {
        path: lines[path] for path in [("a", "b"), ("a", "b", "c"), ("a", "b", "d e"), ("f", "g", "h")]
    } == {
        ("a", "b"): 2,
        ("a", "b", "c"): 3,
        ("a", "b", "d e"): 4,
        ("f", "g", "h"): 8,
    }
