"""Settings of a running server: all or nothing, on trial or for good, and back by themselves."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from paceline.base.errors import LeaseHeld, LeaseUnknown, NotLive, SettingRefused
from paceline.settings import LiveSettings, Settings, load
from paceline.settings.live import State, differences, live_values

SIZE, COST = "embed.batch.max_size", "embed.batch.max_cost"


def fresh(*sets):
    ids = itertools.count(1)
    return LiveSettings(load(environ={}, sets=sets).settings, lambda: f"lease-{next(ids)}")


@pytest.fixture
def live():
    return fresh()


def test_a_change_without_a_lease_stays(live):
    changed = live.change({SIZE: 8}, 0.0, who="ann")
    live.expire(1e9)

    assert changed == {SIZE: (32, 8)}
    assert (live.current.embed.batch.max_size, live.version, live.lease) == (8, 1, None)


def test_a_trial_goes_back_when_it_is_not_renewed(live):
    live.change({COST: 64}, 0.0, who="ann")
    live.change({SIZE: 8, COST: 128}, 1.0, who="bob", lease_s=10.0)
    live.expire(10.9)
    assert live.current.embed.batch.max_size == 8
    live.expire(11.0)

    assert (live.current.embed.batch.max_size, live.current.embed.batch.max_cost) == (32, 64)
    assert (live.lease, live.version) == (None, 3)


def test_renewing_counts_from_now(live):
    live.change({SIZE: 8}, 0.0, who="ann", lease_s=10.0)
    live.renew("lease-1", 10.0, 9.0)
    live.expire(18.9)
    assert live.lease is not None
    live.expire(19.0)

    assert live.lease is None


def test_further_changes_join_the_trial_and_go_back_with_it(live):
    live.change({SIZE: 8}, 0.0, who="ann", lease_s=10.0)
    live.change({COST: 64}, 1.0, who="ann", lease="lease-1")
    live.change({SIZE: 4}, 2.0, who="ann", lease="lease-1", lease_s=20.0)

    assert live.lease.ends_at == 22.0
    assert live.revert("lease-1", 3.0, who="ann") == {SIZE: (4, 32), COST: (64, 0)}
    assert live.current == Settings()


def test_others_wait_until_the_trial_is_over(live):
    live.change({SIZE: 8}, 0.0, who="ann@10.0.0.1", lease_s=10.0)
    with pytest.raises(LeaseHeld, match=r"by ann@10.0.0.1 for another 6.0 s") as raised:
        live.change({COST: 64}, 4.0, who="bob")
    with pytest.raises(LeaseHeld):
        live.change({COST: 64}, 4.0, who="bob", lease_s=1.0)

    assert raised.value.retry_after_s == 6.0
    assert live.current.embed.batch.max_cost == 0
    live.change({COST: 64}, 10.0, who="bob")
    assert differences(Settings(), live.current) == {COST: (0, 64)}


def test_a_trial_that_is_kept_stays(live):
    live.change({SIZE: 8}, 0.0, who="ann", lease_s=10.0)

    assert live.keep("lease-1", 5.0, who="ann") == {SIZE: (32, 8)}
    live.expire(100.0)
    assert live.current.embed.batch.max_size == 8
    live.change({COST: 64}, 101.0, who="bob")


@pytest.mark.parametrize("act", ["renew", "revert", "keep", "change"])
@pytest.mark.parametrize("over", [False, True])
def test_a_lease_that_is_over_or_never_was_is_unknown(live, act, over):
    live.change({SIZE: 8}, 0.0, who="ann", lease_s=10.0)
    lease, now = ("lease-1", 10.0) if over else ("lease-9", 1.0)
    acts = {
        "renew": lambda: live.renew(lease, 10.0, now),
        "revert": lambda: live.revert(lease, now, who="ann"),
        "keep": lambda: live.keep(lease, now, who="ann"),
        "change": lambda: live.change({SIZE: 4}, now, who="ann", lease=lease),
    }
    with pytest.raises(LeaseUnknown, match=f"no lease '{lease}'"):
        acts[act]()

    assert live.current.embed.batch.max_size == (32 if over else 8)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {SIZE: 0},
            SettingRefused,
            "embed.batch.max_size = 0 (from /admin/settings): expected an integer 1..4096",
        ),
        (
            {SIZE: "8"},
            SettingRefused,
            "embed.batch.max_size = '8' (from /admin/settings): expected an integer 1..4096",
        ),
        (
            {"embed.batch.maxsize": 8},
            SettingRefused,
            "embed.batch.maxsize (from /admin/settings): no such setting; did you mean embed.batch.max_size?",
        ),
        (
            {"": 8},
            SettingRefused,
            "a setting without a name (from /admin/settings); `paceline config reference` lists all",
        ),
        (
            {"embed.batch": 8},
            SettingRefused,
            (
                "embed.batch = 8 (from /admin/settings): expected a table with any of "
                "max_size, max_cost, max_wait_ms, adaptive, bucket, ageing_s"
            ),
        ),
        (
            {"limits.tokens.nobody.rpm": 5},
            SettingRefused,
            (
                "limits.tokens.nobody (from /admin/settings): no bearer token has this name; "
                "known are default (default is auth.token)"
            ),
        ),
        (
            {"embed.streams": 2},
            NotLive,
            "embed.streams (from /admin/settings): not live; give it to the server when it starts again",
        ),
        (
            {"auth.tokens": {"eve": "secret"}},
            NotLive,
            "auth.tokens (from /admin/settings): not live; give it to the server when it starts again",
        ),
    ],
)
def test_one_wrong_change_refuses_them_all_as_the_settings_file_would(live, changes, error, message):
    with pytest.raises(error) as raised:
        live.change({COST: 64, **changes}, 0.0, who="ann", lease_s=10.0)

    assert raised.value.message == message
    assert (live.current, live.version, live.lease, live.events) == (Settings(), 0, None, [])


def test_a_group_may_be_changed_by_its_live_settings(live):
    assert live.change({"embed.batch": {"max_size": 8}}, 0.0, who="ann") == {SIZE: (32, 8)}
    with pytest.raises(NotLive, match=r"embed\.batch\.bucket"):
        live.change({"embed.batch": {"max_size": 4, "bucket": 16}}, 0.0, who="ann")


def test_a_table_is_replaced_and_its_entries_can_be_changed():
    live = fresh("limits.endpoints./a.rpm=5")
    one = live.change({"limits.endpoints./b.rph": 7}, 0.0, who="ann")
    whole = live.change({"limits.endpoints": {"/b": {"rpm": 1}}}, 0.0, who="ann")

    assert one == {'limits.endpoints."/b".rpm': (None, 0), 'limits.endpoints."/b".rph': (None, 7)}
    assert whole == {
        'limits.endpoints."/a".rpm': (5, None),
        'limits.endpoints."/a".rph': (0, None),
        'limits.endpoints."/b".rpm': (0, 1),
        'limits.endpoints."/b".rph': (7, 0),
    }


def test_every_event_says_who_did_what(live):
    live.change({SIZE: 8}, 0.0, who="ann", lease_s=1.0)
    live.change({SIZE: 8}, 0.0, who="ann", lease="lease-1")  # nothing new
    live.expire(2.0)
    live.change({}, 2.0, who="bob", lease_s=1.0)
    live.change({SIZE: 4}, 2.0, who="bob", lease="lease-2")
    live.keep("lease-2", 2.5, who="bob")

    assert [(e.kind, e.who, e.version, e.lease, e.changed) for e in live.events] == [
        ("change", "ann", 1, "lease-1", {SIZE: (32, 8)}),
        ("expire", "ann", 2, "lease-1", {SIZE: (8, 32)}),
        ("change", "bob", 2, "lease-2", {}),
        ("change", "bob", 3, "lease-2", {SIZE: (32, 4)}),
        ("keep", "bob", 3, "lease-2", {SIZE: (32, 4)}),
    ]


def test_a_successor_goes_on_with_the_trial_and_ends_it(live):
    live.change({COST: 64}, 0.0, who="ann")
    live.change({SIZE: 8, "limits.endpoints": {"/a": {"rpm": 1}}}, 0.0, who="ann", lease_s=10.0)
    state = msgspec.msgpack.decode(msgspec.msgpack.encode(live.state()), type=State)
    successor = fresh()
    successor.resume(state)

    assert (successor.current, successor.version, successor.lease) == (live.current, 2, live.lease)
    successor.expire(10.0)
    assert differences(Settings(), successor.current) == {COST: (0, 64)}


def test_what_is_live_holds_no_secrets():
    assert "hush" not in repr(live_values(load(environ={}, sets=["auth.token=hush"]).settings))


class Anybody(RuleBasedStateMachine):
    """Whatever is done in whatever order, against a plain account of what must be in force."""

    @initialize()
    def start(self):
        self.live, self.now = fresh(), 0.0
        self.kept, self.tried, self.ends_at = {}, None, None
        self.versions = [0]

    def forget(self):
        if self.ends_at is not None and self.ends_at <= self.now:
            self.tried = self.ends_at = None

    changes = st.dictionaries(
        st.sampled_from([SIZE, COST, "serve.timeout_s", "cache.l1.max_bytes"]),
        st.sampled_from([4096, 1 << 12, 3600, 70]).filter(lambda n: n > 0),
        max_size=3,
    ).filter(lambda changes: changes.get("cache.l1.max_bytes", 4096) >= 4096)

    @rule(changes=changes)
    def change(self, changes):
        self.forget()
        if self.tried is None:
            self.live.change(changes, self.now, who="x")
            self.kept |= changes
        else:
            with pytest.raises(LeaseHeld):
                self.live.change(changes, self.now, who="x")

    @rule(changes=changes, lease_s=st.sampled_from([0.5, 3.0, 60.0]))
    def try_out(self, changes, lease_s):
        self.forget()
        if self.tried is None:
            self.live.change(changes, self.now, who="x", lease_s=lease_s)
            self.tried = {**self.kept, **changes}
        else:
            self.live.change(changes, self.now, who="x", lease=self.live.lease.id, lease_s=lease_s)
            self.tried |= changes
        self.ends_at = self.now + lease_s

    @rule(step=st.sampled_from([0.1, 1.0, 5.0, 100.0]))
    def pass_time(self, step):
        self.now += step
        self.forget()
        self.live.expire(self.now)

    @precondition(lambda self: self.tried is not None)
    @rule(stay=st.booleans())
    def end(self, stay):
        lease = self.live.lease.id
        if stay:
            self.live.keep(lease, self.now, who="x")
            self.kept = self.tried
        else:
            self.live.revert(lease, self.now, who="x")
        self.tried = self.ends_at = None

    @rule()
    def hand_over(self):
        successor = fresh()
        successor.resume(self.live.state())
        self.live = successor

    @rule(name=st.sampled_from([SIZE, "serve.port"]))
    def be_refused(self, name):
        self.forget()
        lease = self.live.lease.id if self.tried is not None else None
        with pytest.raises((SettingRefused, NotLive)):
            self.live.change({COST: 1, name: 0}, self.now, who="x", lease=lease)

    @invariant()
    def what_is_in_force_is_what_was_asked_for(self):
        expected = self.kept if self.tried is None else self.tried
        wanted = LiveSettings(Settings(), str)
        wanted.change(expected, 0.0, who="x")

        assert self.live.current == wanted.current
        assert (self.live.lease is None) == (self.tried is None)

    @invariant()
    def the_version_never_goes_back(self):
        self.versions.append(self.live.version)

        assert self.versions == sorted(self.versions)


TestAnybody = Anybody.TestCase
