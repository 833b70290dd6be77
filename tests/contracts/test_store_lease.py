"""What every database promises of the lease and of the time that drivers spend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from threading import Barrier, Thread

import pytest

from automl.errors import LeaseError, StorageError
from automl.storage import LEASE_TIMEOUT_S, Holder, Store, current_holder, open_store
from tests.storage.sample_outcomes import at, new_study, open_trial, outcome

ELSEWHERE = Holder("other-host", "boot", 4242, 99)
THIRD = Holder("third-host", "boot", 1, 1)
DEAD = replace(current_holder(), process_start=1)  # this process's number, as an earlier process had it


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return at(self.seconds)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def first(store_url: str, clock: HandClock) -> Iterator[Store]:
    with open_store(store_url, clock) as store:
        yield store


@pytest.fixture
def second(store_url: str, clock: HandClock, first: Store) -> Iterator[Store]:
    with open_store(store_url, clock) as store:
        yield store


def test_take_lease_refuses_beside_a_live_process_by_name(first: Store, second: Store, clock: HandClock) -> None:
    me = current_holder()
    first.take_lease(new_study(first), me)
    clock.seconds = 10 * LEASE_TIMEOUT_S  # silent, but seen to be alive
    with pytest.raises(LeaseError, match=f"process {me.pid} on {me.host}. End it"):
        second.take_lease(new_study(second), ELSEWHERE)
    assert second.is_leased(new_study(second)) == me


def test_take_lease_follows_a_dead_process_at_once(first: Store, second: Store) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, DEAD)
    assert second.is_leased(study_id) is None
    second.take_lease(study_id, current_holder())
    assert first.is_leased(study_id) == current_holder()


@pytest.mark.parametrize("silence_s", [0.0, LEASE_TIMEOUT_S - 1])
def test_take_lease_refuses_beside_another_host(
    first: Store, second: Store, clock: HandClock, silence_s: float
) -> None:
    first.take_lease(new_study(first), ELSEWHERE)
    clock.seconds = silence_s
    with pytest.raises(
        LeaseError, match=f"4242 on other-host. If it is dead, .* in {LEASE_TIMEOUT_S - silence_s:.0f} s"
    ):
        second.take_lease(new_study(second), THIRD)


def test_take_lease_follows_another_host_that_fell_silent(first: Store, second: Store, clock: HandClock) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, ELSEWHERE)
    clock.seconds = LEASE_TIMEOUT_S
    second.take_lease(study_id, THIRD)
    assert first.is_leased(study_id) == THIRD


def test_renew_lease_keeps_another_host_out(first: Store, second: Store, clock: HandClock) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, ELSEWHERE)
    for _ in range(3):
        clock.seconds += LEASE_TIMEOUT_S - 1
        first.renew_lease(study_id)
    with pytest.raises(LeaseError):
        second.take_lease(study_id, THIRD)


def test_take_lease_lets_the_same_process_in_again(first: Store, second: Store) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, current_holder())
    second.take_lease(study_id, current_holder())
    with pytest.raises(LeaseError):
        first.renew_lease(study_id)


def test_store_that_lost_its_lease_writes_nothing_more(first: Store, second: Store, clock: HandClock) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, ELSEWHERE)
    open_trial(first, study_id, 0)
    clock.seconds = LEASE_TIMEOUT_S
    second.take_lease(study_id, THIRD)
    with pytest.raises(LeaseError, match="process 1 on third-host holds it"):
        first.finish_trial(study_id, 0, outcome(0))
    with pytest.raises(LeaseError):
        open_trial(first, study_id, 1)
    assert [trial.state for trial in second.trials(study_id)] == ["open"]
    assert second.finish_trial(study_id, 0, outcome(0))


def test_release_lease_lets_anyone_in(first: Store, second: Store) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, current_holder())
    first.release_lease(study_id)
    assert second.is_leased(study_id) is None
    second.take_lease(study_id, ELSEWHERE)
    first.release_lease(study_id)  # not its own any more
    assert second.is_leased(study_id) == ELSEWHERE


def test_renew_lease_refuses_without_a_lease(first: Store) -> None:
    with pytest.raises(LeaseError, match="but nobody holds it"):
        first.renew_lease(new_study(first))


def test_take_lease_refuses_an_unknown_study(first: Store) -> None:
    with pytest.raises(StorageError, match="there is no study 77"):
        first.take_lease(77, ELSEWHERE)


def test_take_lease_lets_one_of_many_win(store_url: str) -> None:
    stores = [open_store(store_url) for _ in range(4)]
    study_id = new_study(stores[0])
    barrier, won = Barrier(len(stores)), []

    def take(number: int) -> None:
        barrier.wait()
        try:
            stores[number].take_lease(study_id, replace(ELSEWHERE, pid=number))
        except LeaseError:
            return
        won.append(number)

    threads = [Thread(target=take, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    holder = stores[0].is_leased(study_id)
    for store in stores:
        store.close()
    assert holder is not None
    assert won == [holder.pid]


def test_total_seconds_adds_up_all_drivers_by_phase(first: Store, second: Store, clock: HandClock) -> None:
    study_id = new_study(first)
    first.take_lease(study_id, DEAD)
    clock.seconds = 10
    first.mark_phase(study_id, "search")
    clock.seconds = 25
    first.renew_lease(study_id)
    clock.seconds = 500  # killed after 25, found at 500
    second.take_lease(study_id, ELSEWHERE, phase="search")
    assert second.total_seconds(study_id, "search") == 15
    clock.seconds = 507
    second.release_lease(study_id)
    assert second.total_seconds(study_id, "search") == 22
    assert second.total_seconds(study_id) == 32
    assert [(one.phase, one.pid, one.seconds) for one in first.phases(study_id)] == [
        ("start", DEAD.pid, 10),
        ("search", DEAD.pid, 15),
        ("search", ELSEWHERE.pid, 7),
    ]


def test_total_seconds_is_nothing_before_any_driver(first: Store) -> None:
    assert first.total_seconds(new_study(first)) == 0


def test_take_lease_goes_by_the_databases_clock_without_a_clock(store: Store) -> None:
    study_id = new_study(store)
    store.take_lease(study_id, current_holder())
    store.renew_lease(study_id)
    (stretch,) = store.phases(study_id)
    assert 0 <= stretch.seconds < LEASE_TIMEOUT_S
