"""What a trial costs its driver: ours, with what it does counted apart from what the sampler does; and the others."""

from __future__ import annotations

import pickle
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from engine_study import NAME, MadeUpTask, joined, sampler_plan, url_of

from automl.search import conductor as conductor_module
from automl.search import mirror as mirror_module
from automl.search.driver import Budget, DrivePlan, drive
from automl.search.executor import Completion, Task, run_task
from automl.search.mirror import Mirror, Recorded
from automl.search.progress import Progress
from automl.search.record_view import Ledger
from automl.search.samplers import METHODS, propose
from automl.space import SearchSpace
from automl.storage import current_holder, open_store
from automl.storage.optuna_tables import MirroredTrial, OptunaTables

OBJECTIVES = ("accuracy", "latency_ms", "size_bytes")
DIRECTIONS = ("maximize", "minimize", "minimize")
FEWEST_ASKS, PATIENCE_S = 3, 30.0  # turns of a slow method, and the time after which there are no more
WARM_TRIALS = 60  # of ours, in which the mirror finds out what it lacks
FIRST_TRIALS = 4  # of another engine: they start workers and make tables


@dataclass
class InstantExecutor:
    """Runs a task as it is collected; task and outcome are pickled as on the way to a worker and back."""

    evaluated: Share = field(default_factory=lambda: Share())  # noqa: PLW0108 it is defined below
    _waiting: list[tuple[str, bytes]] = field(default_factory=list)

    @property
    def capacity(self) -> int:
        return 1

    def share(self, context: Any) -> None:
        """Nothing is shared."""

    def submit(self, key: str, task: Task) -> None:
        self._waiting.append((key, pickle.dumps(task)))

    def collect(self, timeout_s: float) -> list[Completion]:  # noqa: ARG002
        key, task = self._waiting.pop()
        sent = pickle.loads(task)  # noqa: S301 what was pickled above
        completion = self.evaluated.timed(run_task)(key, sent, None)
        return [pickle.loads(pickle.dumps(completion))]  # noqa: S301

    def end(self, key: str) -> None:
        """Nothing runs for long."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Share:
    """What the calls of one function took."""

    times: int = 0
    wall_s: float = 0.0
    processor_s: float = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self.wall_s = self.processor_s = 0.0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time added here."""

        def call(*arguments: Any) -> Any:
            wall, processor = time.perf_counter(), time.thread_time()
            try:
                return function(*arguments)
            finally:
                self.times += 1
                self.wall_s += time.perf_counter() - wall
                self.processor_s += time.thread_time() - processor

        return call


def driver_cost(folder: Path, recorded: int, trials: int) -> dict[str, float]:
    """Return what `trials` new trials cost beside the ask, in milliseconds each, mirror on.

    "wall" is the time that the driver took, "processor" its processor time together with the mirror's thread. "late_s"
    and "late_trials" say how far the mirror was behind at most.
    """
    study = joined(folder)
    with open_store(url_of(folder, recorded)) as store:
        known = store.find_study(NAME)
        assert known is not None
        there = store.trials(known.id)
        store.take_lease(known.id, current_holder())
        made_whole = Mirror(store.url, NAME, study.space, OBJECTIVES, Recorded(store, known.id))
        made_whole.close()
        executor, begun, asked, lateness = InstantExecutor(), Stopwatch(), Share(), Lateness()
        budget = Budget(len(there) + WARM_TRIALS + trials, None, None)
        plan = DrivePlan(
            known.id, sampler_plan(study, "random", seed=len(there)), budget,
            known.device, lambda candidate, _known, _step: MadeUpTask(candidate, executor.evaluated.times),
            lambda candidate: candidate.shape_key((8, 8), 10),
        )  # fmt: skip
        conductor_module.propose = asked.timed(propose)
        mirror_module.OptunaTables = lateness.watched()  # type: ignore[misc]
        mirror = Mirror(store.url, NAME, study.space, OBJECTIVES, Recorded(store, known.id))

        def on_progress(now: Progress) -> None:
            if now.trials >= len(there) + WARM_TRIALS and begun.start():
                asked.forget(), executor.evaluated.forget(), lateness.forget()

        drive(plan, store, executor, lateness.told(mirror), on_progress)
        wall, processor = begun.stop()
        mirror.close()
        assert mirror.fault is None and made_whole.fault is None, (mirror.fault, made_whole.fault)
        store.release_lease(known.id)
    left_out = (asked, executor.evaluated)
    return {
        "wall": 1e3 * (wall - sum(share.wall_s for share in left_out)) / trials,
        "processor": 1e3 * (processor - sum(share.processor_s for share in left_out)) / trials,
        "late_s": lateness.seconds,
        "late_trials": float(lateness.trials),
    }


@dataclass
class Stopwatch:
    """Wall and processor seconds since the first call of `start`."""

    began: tuple[float, float] | None = None

    def start(self) -> bool:
        """Start, and tell whether that was the first call."""
        is_first = self.began is None
        if is_first:
            self.began = time.perf_counter(), time.process_time()
        return is_first

    def stop(self) -> tuple[float, float]:
        assert self.began is not None
        return time.perf_counter() - self.began[0], time.process_time() - self.began[1]


@dataclass
class Lateness:
    """How far the mirror is behind at most when it has written, in seconds and in trials."""

    seconds: float = 0.0
    trials: int = 0
    _told: int = 0  # by the driver's thread
    _written: int = 0  # by the mirror's

    def forget(self) -> None:
        """Begin anew."""
        self.seconds, self.trials = 0.0, 0

    def told(self, mirror: Mirror) -> Any:
        outer = self

        class Told:
            def tell(self, trial: Any) -> None:
                outer._told += 1
                outer.trials = max(outer.trials, outer._told - outer._written)
                mirror.tell(trial)

        return Told()

    def watched(self) -> type[OptunaTables]:
        outer = self

        class Watched(OptunaTables):
            def add(self, trials: Sequence[MirroredTrial]) -> None:
                super().add(trials)
                outer._written += len(trials)
                now = datetime.now(UTC)
                ages = [(now - trial.finished_at).total_seconds() for trial in trials if trial.finished_at is not None]
                outer.seconds = max([outer.seconds, *ages])

        return Watched


def ask_cost(folder: Path, sizes: Sequence[int], asks: int) -> dict[str, dict[int, float]]:
    """Return the median milliseconds of an ask by method and by how many trials are recorded, taken in turns.

    The first turn is left out; slow methods get fewer.
    """
    study, ledgers = joined(folder), {}
    for recorded in sizes:
        with open_store(url_of(folder, recorded)) as store:
            known = store.find_study(NAME)
            assert known is not None
            ledgers[recorded] = Ledger(store.trials(known.id), OBJECTIVES)
    found: dict[str, dict[int, float]] = {}
    for method in METHODS:
        if method == "sklearn_grid":
            continue  # ends before there are so many
        times: dict[int, list[float]] = defaultdict(list)
        began = time.perf_counter()
        for turn in range(asks + 1):
            if turn >= FEWEST_ASKS and time.perf_counter() - began > PATIENCE_S:
                break
            for recorded, ledger in ledgers.items():
                started = time.perf_counter()
                propose(sampler_plan(study, method), ledger.view(), len(ledger) + turn)
                times[recorded].append(time.perf_counter() - started)
        found[method] = {recorded: 1e3 * statistics.median(several[1:]) for recorded, several in times.items()}
    return found


def optuna_cost(folder: Path, trials: int) -> float:
    """Return the milliseconds of a trial of plain Optuna on SQLite with the same space: ask, suggest, tell."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = joined(folder).space
    with tempfile.TemporaryDirectory() as scratch:
        study = optuna.create_study(storage=f"sqlite:///{scratch}/optuna.db", directions=DIRECTIONS)

        def objective(trial: optuna.Trial) -> tuple[float, ...]:
            point = {one.name: trial.suggest_categorical(one.name, range(len(one.choices))) for one in space.dimensions}
            return figures_of(space, point, trial.number)

        study.optimize(objective, n_trials=FIRST_TRIALS)
        started = time.perf_counter()
        study.optimize(objective, n_trials=trials)
        return 1e3 * (time.perf_counter() - started) / trials


def figures_of(space: SearchSpace, point: Mapping[str, int], number: int) -> tuple[float, float, float]:
    """Return made-up figures of a point that cost next to nothing."""
    rng = np.random.default_rng([number, *point.values()])
    return float(rng.random()), float(rng.random()), float(len(space.dimensions) * rng.random())


def ray_tune_cost(folder: Path, trials: int) -> float:
    """Return the milliseconds of a trivial trial of Ray Tune with OptunaSearch on two workers, actors reused."""
    from automl.search.ray_cluster import PoolPlan, enter_cluster

    space, cluster = joined(folder).space, enter_cluster(PoolPlan(2))
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    class Trivial(tune.Trainable):  # type: ignore[misc]
        def setup(self, config: Mapping[str, int]) -> None:
            self._config = config

        def step(self) -> dict[str, Any]:
            figures = np.random.default_rng(list(self._config.values())).random(len(OBJECTIVES))
            return {**dict(zip(OBJECTIVES, figures.tolist(), strict=True)), "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """There is nothing to save, and Tune asks at each end."""

        def reset_config(self, config: Mapping[str, int]) -> bool:
            self._config = config
            return True

    ends: list[float] = []

    class Clock(tune.Callback):  # type: ignore[misc]
        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        search = OptunaSearch(metric=list(OBJECTIVES), mode=[name[:3] for name in DIRECTIONS])
        tuner = tune.Tuner(
            Trivial,
            param_space={one.name: tune.choice(list(range(len(one.choices)))) for one in space.dimensions},
            tune_config=tune.TuneConfig(
                search_alg=search, num_samples=trials, max_concurrent_trials=2, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, callbacks=[Clock()],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )  # fmt: skip
        tuner.fit()
        cluster.leave()
    warm = ends[FIRST_TRIALS:]
    return 1e3 * (warm[-1] - warm[0]) / (len(warm) - 1)
