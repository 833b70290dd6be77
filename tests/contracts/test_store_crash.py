"""A driver killed at any moment loses no finished trial, records none twice and leaves none half written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, func, select

from automl.storage import Store, open_store
from automl.storage.tables import METADATA, OUTCOME, TRIAL
from tests.storage.crashing_writer import TRIALS
from tests.storage.sample_outcomes import new_study, outcome

ROOT = Path(__file__).resolve().parents[2]
KILLED_AFTER = (1, 2, 4)  # finished trials that the driver told of, until it was killed


@contextmanager
def driver(mode: str, url: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.storage.crashing_writer", mode, url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def stream_until_killed(url: str, after: int) -> list[int]:
    with driver("stream", url) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(after)]
        process.kill()
        return told + [int(line) for line in process.stdout]


def stream_to_the_end(url: str) -> list[int]:
    with driver("stream", url) as process:
        assert process.stdout is not None
        told = [int(line) for line in process.stdout]
        assert process.wait() == 0
        return told


def rows_without_a_trial(url: str) -> int:
    """Count the outcomes that no trial has, over all tables that hold a part of one."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    owned = select(TRIAL.c.outcome_id).where(TRIAL.c.outcome_id.is_not(None))
    parts = [table.c.outcome_id for table in METADATA.sorted_tables if "outcome_id" in table.c and table is not TRIAL]
    with engine.connect() as connection:
        counts = [
            connection.scalar(select(func.count()).where(column.not_in(owned))) for column in (OUTCOME.c.id, *parts)
        ]
    engine.dispose()
    return sum(count for count in counts if count is not None)


def test_store_keeps_what_was_told_through_kills(store_url: str) -> None:
    told: list[int] = []
    for after in KILLED_AFTER:
        told += stream_until_killed(store_url, after)
        with open_store(store_url) as store:
            finished = finished_outcomes(store)
            assert store.is_leased(new_study(store)) is None  # the next driver need not wait
        assert set(told) <= set(finished)
        assert finished == {number: outcome(number) for number in finished}
        assert rows_without_a_trial(store_url) == 0
    told += stream_to_the_end(store_url)
    with open_store(store_url) as store:
        trials = store.trials(new_study(store), with_samples=True)
    assert len(told) == len(set(told)), "a trial was finished twice"
    assert [(trial.number, trial.outcome) for trial in trials] == [(n, outcome(n)) for n in range(TRIALS)]


def finished_outcomes(store: Store) -> dict[int, object]:
    trials = store.trials(new_study(store), with_samples=True)
    return {trial.number: trial.outcome for trial in trials if trial.state != "open"}


def test_store_finishes_a_trial_whole_or_not_at_all_at_every_step(store_url: str) -> None:
    with driver("each_step", store_url) as process:
        steps = int(process.communicate()[0])
    with open_store(store_url) as store:
        trials = store.trials(new_study(store), with_samples=True)
    assert steps >= 9  # the trial, seven tables with parts, and the commit at least
    assert [trial.state for trial in trials] == ["open"] * steps + ["measured"]
    assert trials[-1].outcome == outcome(0)
    assert rows_without_a_trial(store_url) == 0
