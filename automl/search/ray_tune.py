"""The search under Ray Tune: the conductor's study through `ray.tune.Tuner`, on the cluster of a pool that rests.

Tune's own state is thrown away: a killed search goes on from the record. The store is used from this thread only: all
that writes is called by Tune's loop, which runs in it. Ray is imported inside, after the pool has set its network up.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.errors import AutomlError
from automl.search.conductor import Conductor
from automl.search.drive_plan import DrivePlan, Listener
from automl.search.progress import Progress
from automl.search.ray_loan import Loan
from automl.search.ray_pool import RayExecutor
from automl.search.ray_tune_parcels import TaskWire
from automl.storage import Store

if TYPE_CHECKING:
    from automl.search.ray_tune_searcher import ConductorSearcher

QUIET: Mapping[str, str] = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new one prints, however silent it is asked to be
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard: the record has it all
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the search as it ends any other
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",  # Tune's state is written at the start and at the end only
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_RESULT_BUFFER_LENGTH": "1",  # a result decides what its worker does next
}


def drive_with_tune(
    plan: DrivePlan,
    store: Store,
    pool: RayExecutor,
    mirror: Listener,
    on_progress: Callable[[Progress], None],
    folder: Path,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Run the study as `drive` does, but by Ray Tune, and return how it stands.

    Args:
        plan: as for `drive`.
        store: the caller holds the study's lease.
        pool: idle, with the context shared; its workers rest meanwhile, those of Tune have their size and number.
        mirror: told of every finished trial.
        on_progress: told how it goes, about once a second.
        folder: of the study; Tune's files lie in one below it, which is removed.
        clock: in seconds.

    Raises:
        AutomlError: where the machine has been unable to run anything for too long; nothing recorded is lost.
        LeaseError: where another driver took the study over.
        KeyboardInterrupt: where the user pressed Ctrl-C; nothing recorded is lost, open trials are run next time.
    """
    from automl.search.ray_tune_searcher import ConductorSearcher

    conductor = Conductor(plan, store, mirror, on_progress, clock)
    conductor.recover()
    with pool.lent() as loan, _throwaway(folder) as files, _quiet(loan.room()):
        searcher = ConductorSearcher(conductor, TaskWire(loan.carry, loan.deliver), loan.room)
        _fit(searcher, loan, files)
    if conductor.running:
        raise AutomlError(f"Ray Tune ended with {conductor.running} trials under way: run the same command again")
    conductor.show()
    return conductor.progress()


def _fit(searcher: ConductorSearcher, loan: Loan, files: Path) -> None:
    from ray import tune

    from automl.search.ray_tune_scheduler import FrontScheduler
    from automl.search.ray_tune_worker import TaskTrainable

    resources = {"cpu": loan.plan.cpus, "gpu": loan.plan.gpus}
    trainable = tune.with_resources(tune.with_parameters(TaskTrainable, shared=loan.shared), resources)
    search = tune.TuneConfig(search_alg=searcher, scheduler=FrontScheduler(searcher), num_samples=-1, reuse_actors=True)
    run = tune.RunConfig(
        name="tune", storage_path=str(files), verbose=0, callbacks=[],
        failure_config=tune.FailureConfig(max_failures=0),
        checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
    )  # fmt: skip
    try:
        tune.Tuner(trainable, tune_config=search, run_config=run).fit()
    except Exception as error:
        if searcher.fault is not None:
            raise searcher.fault from None  # what Tune made of it says less
        raise AutomlError(f"Ray Tune failed: {error}") from error


@contextmanager
def _throwaway(folder: Path) -> Iterator[Path]:
    """Yield an empty folder for Tune's files; what a killed search left there is swept away."""
    root = folder / "tune"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    try:
        yield Path(tempfile.mkdtemp(dir=root)).resolve()
    finally:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _quiet(workers: int) -> Iterator[None]:
    """Keep Tune from talking, from writing what nobody reads, from keeping signals; let all workers start at once."""
    settings = {**QUIET, "TUNE_MAX_PENDING_TRIALS_PG": str(workers)}
    before = {name: os.environ.get(name) for name in settings}
    logger, handler = logging.getLogger("ray.tune"), signal.getsignal(signal.SIGUSR1)
    level = logger.level
    os.environ.update(settings)
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
        _give_back(handler)


def _give_back(handler: Any) -> None:
    try:
        signal.signal(signal.SIGUSR1, handler)
    except ValueError:
        return  # Tune takes no signals outside of the main thread
