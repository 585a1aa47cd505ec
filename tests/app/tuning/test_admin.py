"""Trials of settings on a real server, and how they end."""

from __future__ import annotations

import time
from contextlib import closing

import httpx
import pytest
from running import running

from paceline.app.tuning.admin import Admin
from paceline.base.errors import ConfigError, TrialFailed, Unreachable

SIZE, WAIT, TEXTS = "embed.batch.max_size", "embed.batch.max_wait_ms", "embed.max_texts"
TOKEN = {"authorization": "Bearer adm"}


def test_settings_are_told_by_name(admin):
    one = admin.settings()[SIZE]

    assert (one["value"], one["live"], one["tune"], one["quality"]) == (32, True, True, False)
    assert one["grid"] == [1, 2, 4, 8, 16, 32, 64]


class TestATrial:
    def test_is_in_force_until_it_is_taken_back(self, admin, value_of):
        admin.try_out({SIZE: 4, WAIT: 0.0})
        during = (value_of(SIZE), value_of(WAIT))
        admin.revert()

        assert during == (4, 0.0)
        assert (value_of(SIZE), value_of(WAIT)) == (32, 10.0)

    def test_is_exactly_the_changes_that_were_asked_for(self, admin, value_of):
        """What the one before changed and this one does not is back."""
        seen = []
        for setting in ({SIZE: 4}, {SIZE: 4, WAIT: 1.0}, {WAIT: 2.0}, {SIZE: 8}, {}):
            admin.try_out(setting)
            seen.append((value_of(SIZE), value_of(WAIT)))

        assert seen == [(4, 10.0), (4, 1.0), (32, 2.0), (8, 10.0), (32, 10.0)]

    def test_that_is_kept_outlives_the_tuner(self, admin, value_of):
        admin.keep({SIZE: 16})
        admin.revert()
        kept = value_of(SIZE)
        httpx.patch(f"{admin.root}/admin/settings", json={"changes": {SIZE: 32}}, headers=TOKEN)

        assert (kept, value_of(SIZE)) == (16, 32)

    def test_lasts_longer_than_its_lease_while_the_tuner_lives(self, tuned_server, value_of):
        """A thread renews it, four times as often as it must."""
        admin = Admin(tuned_server.url, "adm", lease_s=0.5)
        admin.try_out({SIZE: 4})
        seen, began = set(), time.monotonic()
        while time.monotonic() < began + 1.5:
            seen.add(value_of(SIZE))
        alive = admin.alive()
        admin.close()

        assert (seen, alive) == ({4}, True)
        assert value_of(SIZE) == 32

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ({SIZE: 0}, "embed.batch.max_size"),
            ({SIZE: "many"}, "embed.batch.max_size"),
            ({"embed.batch.max_sise": 4}, "max_sise"),
            ({"serve.port": 80}, "serve.port"),
        ],
    )
    def test_that_the_server_refuses_has_failed_and_changed_nothing(self, admin, value_of, setting, words):
        with pytest.raises(TrialFailed, match=f"the server did not take .*{words}"):
            admin.try_out({WAIT: 1.0, **setting})

        assert value_of(WAIT) == 10.0

    def test_beside_another_ones_is_refused(self, admin, tuned_server, value_of):
        other = Admin(tuned_server.url, "adm")
        other.try_out({SIZE: 2})
        with pytest.raises(TrialFailed, match="did not take"):
            admin.try_out({SIZE: 4})
        other.close()
        admin.try_out({SIZE: 4})

        assert value_of(SIZE) == 4

    def test_whose_lease_was_taken_away_is_over(self, tuned_server, until):
        """An operator may end it: then no later run is taken for a run of it."""
        admin = Admin(tuned_server.url, "adm", lease_s=1.0)
        admin.try_out({SIZE: 4})
        lease = httpx.get(f"{admin.root}/admin/settings", headers=TOKEN).json()["lease"]["id"]
        httpx.delete(f"{admin.root}/admin/settings/lease/{lease}", headers=TOKEN)
        until(lambda: not admin.alive())
        with pytest.raises(TrialFailed, match="lease on the trial settings was lost"):
            admin.try_out({SIZE: 8})
        admin.close()

    def test_of_a_server_that_is_gone_has_failed_and_needs_no_taking_back(self, state_dir):
        with running("embed.model=", "admin.token=adm", state_dir=state_dir) as server:
            admin = Admin(server.url, "adm")
            admin.try_out({TEXTS: 7})
            server.process.kill()
            server.process.wait()
            with pytest.raises(TrialFailed, match="cannot reach"):
                admin.try_out({TEXTS: 8})

            assert not admin.alive()
            admin.close()


class TestBatches:
    def test_are_told_once(self, admin, tuned_server):
        admin.take_batches()
        ask = {"input": [f"{time.time_ns()} {number}" for number in range(3)]}
        httpx.post(f"{tuned_server.url}/v1/embeddings", json=ask)
        first, second = admin.take_batches(), admin.take_batches()

        assert first.rows.sum() == 3
        assert (first.run_s > 0).all()
        assert len(second) == 0


class TestWhoMayNot:
    def test_a_wrong_token_is_said(self, tuned_server):
        with (
            closing(Admin(tuned_server.url, "no")) as admin,
            pytest.raises(ConfigError, match=r"refused the admin token.*--admin-token"),
        ):
            admin.settings()

    def test_a_server_without_admin_says_how_to_get_one(self, server):
        with (
            closing(Admin(server.url, "adm")) as admin,
            pytest.raises(ConfigError, match=r"lets nobody change its settings.*--set admin\.token=SECRET"),
        ):
            admin.settings()

    def test_nobody_there_is_said(self):
        with (
            closing(Admin("http://127.0.0.1:1", "adm")) as admin,
            pytest.raises(Unreachable, match=r"cannot reach http://127\.0\.0\.1:1"),
        ):
            admin.settings()
