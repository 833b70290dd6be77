"""A study for people who run their own `ray.tune.Tuner` over a trainable of their own: docs/tune.md shows it.

Importing this module imports Ray, which reads its network settings at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from automl.candidate import Candidate
from automl.outcome import Timing
from automl.search.conductor import Conductor
from automl.search.drive_plan import Budget, DrivePlan, RungStep
from automl.search.mirror import Mirror, Recorded
from automl.search.progress import Progress
from automl.search.ray_tune_metrics import MetricsTask, MetricsWire
from automl.search.ray_tune_scheduler import FrontScheduler
from automl.search.ray_tune_searcher import ConductorSearcher
from automl.search.samplers import SamplerPlan
from automl.search.stopping import stopping_plan
from automl.search.study_checks import package_versions
from automl.space import Point, SearchSpace
from automl.storage import Store, StudyRecord, current_holder
from automl.study_spec import INDECISIVE, StudySpec


@dataclass(frozen=True)
class TunedStudy:
    """What a Tuner of one's own needs: its `search_alg` and its `scheduler`. `progress` says how the study stands."""

    record: StudyRecord
    searcher: ConductorSearcher
    scheduler: FrontScheduler
    progress: Callable[[], Progress]


@contextmanager
def tuned_study(
    spec: StudySpec,
    space: SearchSpace,
    store: Store,
    device: str,
    *,
    enqueue: Sequence[Point] = (),
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[TunedStudy]:
    """Hold a study open, for the time of a Tuner; one that was left is gone on with.

    Args:
        spec: says the objectives, limits, budget, sampler and stopping; data and target are the trainable's own affair.
        space: of the spec.
        store: the record.
        device: on which the reported latencies are measured; only those of one device share a front.
        enqueue: points to run first.
        on_progress: told how it goes, about once a second.

    Raises:
        InputError: where the study exists with another spec.
        LeaseError: where another live driver runs the study.
    """
    study = store.require_study(
        spec.name, spec.to_json(), spec.digest(), spec.search.seed, package_versions(), device, spec.objectives,
        INDECISIVE,
    )  # fmt: skip
    store.take_lease(study.id, current_holder())
    try:
        mirror = Mirror(store.url, spec.name, space, spec.objectives, Recorded(store, study.id))
        try:
            conductor = Conductor(_plan(spec, space, study, device, enqueue), store, mirror, on_progress)
            conductor.recover()
            searcher = ConductorSearcher(conductor, MetricsWire())
            yield TunedStudy(study, searcher, FrontScheduler(searcher), conductor.progress)
            if searcher.is_done:
                store.finish_study(study.id)
        finally:
            mirror.close()
    finally:
        store.release_lease(study.id)


def _plan(spec: StudySpec, space: SearchSpace, study: StudyRecord, device: str, enqueue: Sequence[Point]) -> DrivePlan:
    stopping, limits = stopping_plan(spec.search.stopping), spec.limits.bounds()

    def make_task(candidate: Candidate, _: Timing | None, step: RungStep | None) -> MetricsTask:
        if step is None or stopping is None:
            return MetricsTask(candidate, spec.objectives, limits, device)
        index = step.rung.index
        shares = stopping.rung_shares()[index:]
        return MetricsTask(candidate, spec.objectives, limits, device, shares, index, step.since)

    sampler = SamplerPlan(
        space, spec.objectives, limits, spec.search.method, spec.search.seed, spec.search.population, tuple(enqueue)
    )
    budget = Budget(spec.budget.trials, spec.budget.trained, spec.budget.seconds)
    return DrivePlan(
        study.id, sampler, budget, device, make_task, Candidate.candidate_hash, stopping, spec.search.timeout_seconds
    )
