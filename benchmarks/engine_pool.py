"""How busy the pool is: two trainers against one, and 64 light slots."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from engine_study import NAME, MadeUpTask, joined, sampler_plan, url_of

from automl.candidate import Candidate
from automl.search.driver import Budget, DrivePlan, drive
from automl.search.executor import Executor
from automl.search.mirror import Mirror, Recorded
from automl.storage import current_holder, open_store

SLOTS, ACTORS, TRIAL_S = 64, 4, 1.0
WARM_S = 5.0  # until every slot has had its first trial
EPOCHS, TIMING_S = 3, 0.25


@dataclass(frozen=True)
class TrainTask:
    """Trains a small network on digits in a training slot, then holds the timing lane for a while, as a trial does."""

    candidate: Candidate
    folder: str

    def __call__(self, context: Any) -> tuple[float, float, int]:  # noqa: ARG002
        """Return the seconds of training, those from asking for the lane to leaving it, and the images trained on."""
        import torch

        from automl.candidate import DistillationPlan
        from automl.data.dataset import load_dataset
        from automl.evaluation import task_of
        from automl.models.network import build_network
        from automl.targets.lanes import timing_lane, training_slot
        from automl.training.loop import Schedule, TrainingSet, train

        torch.set_num_threads(1)
        data = load_dataset("digits", None, seed=0, validation_share=0.2, test_share=0.2, augmentation="none")
        images = TrainingSet(data.train.pixels[None], data.train.labels, None)
        network = build_network(self.candidate, task_of(data), pruned=False)
        with training_slot(Path(self.folder)) as slot:
            started = time.monotonic()
            train(
                network, images, self.candidate.training, DistillationPlan(1.0, 1.0), Schedule(EPOCHS),
                phase="dense", seed=0, between_steps=slot.give_way,
            )  # fmt: skip
            trained = time.monotonic() - started
        started = time.monotonic()
        with timing_lane(Path(self.folder)):
            until = time.monotonic() + TIMING_S
            while time.monotonic() < until:
                pass
        return trained, time.monotonic() - started, EPOCHS * len(images.labels)


def training_throughput(folder: Path, workers: int, trials: int) -> dict[str, float]:
    """Return the images a second that so many trainers train on together, and the share of the time in the lane."""
    from automl.search.ray_pool import PoolPlan, RayExecutor

    space = joined(folder).space
    candidates = [space.decode(space.sample(np.random.default_rng([7, index]))) for index in range(trials)]
    executor = RayExecutor(PoolPlan(workers))
    try:
        executor.share(None)
        run_through(executor, [TrainTask(candidates[0], str(folder))] * workers)  # imports are no part of it
        ends = run_through(executor, [TrainTask(one, str(folder)) for one in candidates])
    finally:
        executor.close()
    trained, in_lane, images = (sum(end[part] for end in ends) for part in range(3))
    return {"images_a_second": workers * images / trained, "lane_share": in_lane / (in_lane + trained)}


def run_through(executor: Executor, tasks: list[TrainTask]) -> list[tuple[float, float, int]]:
    """Run all tasks and return what they returned."""
    from automl.search.finalists import run_all

    ends: list[Any] = []
    run_all(executor, {str(at): task for at, task in enumerate(tasks)}, lambda: None, lambda _, end: ends.append(end))
    assert all(end.error is None for end in ends), [end.error for end in ends]
    return [end.value for end in ends]


def busy_share(folder: Path, recorded: int, seconds: float) -> dict[str, float]:
    """Return the share of the slots' time in which they run a trial, over `seconds` of a search with a mirror."""
    from automl.search.ray_pool import PoolPlan, RayExecutor

    study = joined(folder)
    with open_store(url_of(folder, recorded)) as store:
        known = store.find_study(NAME)
        assert known is not None
        there = store.trials(known.id)
        store.take_lease(known.id, current_holder())
        budget = Budget(None, None, store.total_seconds(known.id, "search") + WARM_S + seconds + TRIAL_S)
        plan = DrivePlan(
            known.id, sampler_plan(study, "random", seed=len(there)), budget, known.device,
            lambda candidate, _known, _step: MadeUpTask(candidate, int(candidate.candidate_hash()[:6], 16), TRIAL_S),
            lambda candidate: candidate.shape_key((8, 8), 10),
        )  # fmt: skip
        executor = RayExecutor(PoolPlan(ACTORS, cpus=0.25, tasks=SLOTS // ACTORS))
        mirror = Mirror(store.url, NAME, study.space, study.spec.objectives, Recorded(store, known.id))
        try:
            executor.share(None)
            started = time.time()
            drive(plan, store, executor, mirror, lambda _: None)
        finally:
            executor.close()
            mirror.close()
            store.release_lease(known.id)
        assert mirror.fault is None, mirror.fault
        ends = [trial.finished_at.timestamp() for trial in store.trials(known.id)[len(there) :] if trial.finished_at]
    window = (started + WARM_S, started + WARM_S + seconds)
    ended = sum(window[0] <= end < window[1] for end in ends)
    return {"busy": ended * TRIAL_S / (SLOTS * seconds), "trials": float(ended)}
