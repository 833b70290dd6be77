"""Drivers that die: run as a program by the tests, which look at what is left."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from sqlalchemy import Engine, event

from automl.storage import Store, current_holder, open_store
from tests.storage.sample_outcomes import new_study, open_trial, outcome

TRIALS = 12


def main() -> None:
    """Run the driver named by the first argument on the database named by the second."""
    {"stream": stream, "each_step": die_at_each_step}[sys.argv[1]](sys.argv[2])


def stream(url: str) -> None:
    """Go on with a study to its end, and say the number of each trial as soon as it is finished."""
    with open_store(url) as store:
        study_id = new_study(store)
        store.take_lease(study_id, current_holder())
        known = {trial.number: trial.state for trial in store.trials(study_id)}
        for number in range(TRIALS):
            if known.get(number, "open") == "open":
                finish(store, study_id, number, is_new=number not in known)
                print(number, flush=True)
        store.release_lease(study_id)


def finish(store: Store, study_id: int, number: int, is_new: bool) -> None:
    """Take one trial from the proposal to the outcome."""
    if is_new:
        open_trial(store, study_id, number)
    store.begin_attempt(study_id, number)
    assert store.finish_trial(study_id, number, outcome(number))


def die_at_each_step(url: str) -> None:
    """Let a child die before the first step of `finish_trial`, one before the second, and so on until one survives.

    A step is a statement or the commit. The trial of each child is its own; all record the same measured outcome.
    """
    for step in range(1, 100):
        child = os.fork()
        if child == 0:
            finish_and_die(url, step)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
            print(step - 1)
            return


def finish_and_die(url: str, fatal_step: int) -> NoReturn:
    """Finish a trial of one's own, and be killed before step `fatal_step` of it, if it has so many."""
    store = open_store(url)
    study_id = new_study(store)
    open_trial(store, study_id, fatal_step)
    steps = 0

    def on_step(*_: object) -> None:
        nonlocal steps
        steps += 1
        if steps == fatal_step:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", on_step)
    event.listen(Engine, "commit", on_step)
    store.finish_trial(study_id, fatal_step, outcome(0))
    os._exit(0)


if __name__ == "__main__":
    main()
