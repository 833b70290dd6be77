"""The driver: the loop between the conductor, who decides and records, and the pool that runs what it assigns."""

from __future__ import annotations

import time
from collections.abc import Callable

from automl.search.conductor import Conductor
from automl.search.drive_plan import Budget, DrivePlan, Listener, MakeTask, RungStep
from automl.search.executor import Executor
from automl.search.progress import Progress
from automl.storage import Store

__all__ = ["Budget", "DrivePlan", "Listener", "MakeTask", "RungStep", "drive"]

COLLECT_S = 1.0


def drive(
    plan: DrivePlan,
    store: Store,
    executor: Executor,
    mirror: Listener,
    on_progress: Callable[[Progress], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Progress:
    """Run the study until its budget is spent and nothing is open, and return how it stands.

    The caller holds the study's lease, and has shared the context with the executor. What was open is run first.

    Raises:
        AutomlError: where the machine has been unable to run anything for too long; nothing recorded is lost.
        LeaseError: where another driver took the study over.
        KeyboardInterrupt: where the user pressed Ctrl-C; nothing recorded is lost, open trials are run next time.
    """
    conductor = Conductor(plan, store, mirror, on_progress, clock)
    conductor.recover()
    while True:
        while conductor.running < executor.capacity and (assignment := conductor.next(executor.capacity)) is not None:
            executor.submit(str(assignment.number), assignment.task)
            conductor.show()
        if not conductor.running:
            pause_s = conductor.pause_s()
            if pause_s == 0:
                break
            sleep(min(pause_s, COLLECT_S))
            conductor.show()
            continue
        for number in conductor.overdue():
            executor.end(str(number))
        conductor.settle(executor.collect(COLLECT_S))
        conductor.show()
    conductor.show()
    return conductor.progress()
