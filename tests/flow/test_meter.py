"""A meter asks for what it needs, no more, and knows what it owes."""

import pytest

from paceline.flow.meter import Meter
from paceline.flow.quota import Grant

WINDOW = 100
NOW = WINDOW * 60.0


@pytest.fixture
def meter():
    return Meter("a", limit=1000, window_s=60)


def grant(granted, left=500):
    return Grant(granted, left, WINDOW, 60.0)


def test_a_new_meter_asks_for_one(meter):
    assert meter.needs_lease(NOW)
    assert meter.want(NOW) == 1


def test_leases_grow_fourfold_while_they_are_used_up_at_once(meter):
    wants = []
    for _ in range(4):
        wants.append(meter.want(NOW))
        meter.accept(grant(wants[-1]), NOW, NOW)

    assert wants == [1, 4, 16, 64]


def test_a_lease_follows_the_rate_of_the_last_one(meter):
    meter.accept(grant(100), NOW, NOW)

    assert [meter.want(NOW + after_s) for after_s in (0.05, 0.1, 0.5, 20.0)] == [200, 100, 20, 1]


def test_everyone_who_waits_is_asked_for(meter):
    meter.waiting = 30

    assert meter.want(NOW) == 30


def test_a_lease_ends_with_its_window_counted_from_the_ask(meter):
    meter.accept(grant(5), asked_at=NOW, now=NOW + 3)

    assert not meter.needs_lease(NOW + 59.9)
    assert meter.needs_lease(NOW + 60.0)


def test_a_used_up_window_is_asked_for_again_after_a_moment(meter):
    meter.accept(grant(0, left=0), NOW, NOW)

    assert [meter.refuses(NOW + after_s) for after_s in (0.0, 0.24, 0.26)] == [True, True, False]


def test_without_the_ledger_a_process_takes_its_share_of_what_was_left(meter):
    meter.accept(grant(1, left=80), NOW, NOW)
    meter.left = 0
    meter.fall_back(NOW + 1, peers=8)

    assert meter.left == 10
    assert meter.debt == 0


def test_without_the_ledger_from_the_start_it_takes_its_share_of_the_limit(meter):
    meter.fall_back(NOW, peers=8)

    assert meter.left == 125


def test_a_share_is_taken_once_a_window_however_often_the_ledger_fails(meter):
    meter.fall_back(NOW, peers=8)
    meter.left -= 125
    meter.fall_back(NOW + 1, peers=8)
    in_the_same_window = meter.left
    meter.fall_back(NOW + 60, peers=8)

    assert (in_the_same_window, meter.left) == (0, 125)


def test_a_share_is_at_least_one_unless_nothing_was_left(meter):
    small = Meter("a", limit=3, window_s=60)
    small.fall_back(NOW, peers=8)
    meter.accept(grant(0, left=0), NOW, NOW)
    meter.fall_back(NOW + 1, peers=8)

    assert (small.left, meter.left) == (1, 0)


def test_what_was_taken_from_the_share_is_owed_until_settled(meter):
    meter.fall_back(NOW, peers=8)
    meter.left -= 7
    owed = meter.debt
    meter.settle()

    assert (owed, meter.debt) == (7, 0)


def test_a_share_is_not_handed_back_to_a_ledger_that_never_gave_it(meter):
    meter.fall_back(NOW, peers=8)

    assert not meter.returnable(NOW)


def test_idle_is_what_was_not_used_between_two_looks(meter):
    meter.accept(grant(5), NOW, NOW)
    looks = [meter.idle()]
    meter.left -= 1
    looks += [meter.idle(), meter.idle()]

    assert looks == [False, False, True]
