"""A whole study from spec to finalists; every step looks into the record first, so that a killed run goes on.

data -> controls -> teacher -> search -> finalists -> done
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from automl import plugins
from automl.candidate import Candidate
from automl.data.dataset import Dataset
from automl.errors import input_error
from automl.evaluation import (
    EvaluateTask,
    EvaluationContext,
    FinishTask,
)
from automl.outcome import Measured, Timing
from automl.search.audience import Audience
from automl.search.driver import Budget, DrivePlan, RungStep, drive
from automl.search.executor import Completion, Executor, Task
from automl.search.finalists import choose_finalists, choose_twin, finalist_key, run_all
from automl.search.front import recorded_front
from automl.search.grid import declared_grid
from automl.search.lane_watch import LaneWatch
from automl.search.mirror import Mirror, Recorded
from automl.search.progress import Progress, progress
from automl.search.record_view import Ledger
from automl.search.samplers import SamplerPlan
from automl.search.samplers.cheap_metrics import joint_features
from automl.search.stopping import stopping_plan
from automl.search.study_checks import DATA, check_same_data, check_same_device, package_versions
from automl.search.study_context import check_model, pool_plan, study_context
from automl.search.teaching import Classroom
from automl.space import Point, SearchSpace
from automl.storage import RENEW_EVERY_S, FinalistRecord, Store, StudyRecord, TrialRecord, current_holder, patient
from automl.study_spec import INDECISIVE, StudySpec, open_dataset
from automl.targets import Target
from automl.tracking import Tracking, TrackingPlan, open_tracking

OnProgress = Callable[[Progress], None]
OpenExecutor = Callable[[StudySpec], Executor]


@dataclass(frozen=True)
class Summary:
    """How a run ended. `notes` are for a person: warnings of the data, what failed, how to go on."""

    study: StudyRecord
    progress: Progress
    front: tuple[TrialRecord, ...]
    finalists: tuple[FinalistRecord, ...]
    interrupted: bool
    notes: tuple[str, ...]


@dataclass
class _Run:
    """What the steps of one run share."""

    spec: StudySpec
    space: SearchSpace
    target: Target
    store: Store
    study: StudyRecord
    on_progress: OnProgress
    lane_folder: Path | None = None
    notes: list[str] = field(default_factory=list)
    renewed: float = 0.0
    tracking: Tracking | None = None
    moment: Progress | None = None

    def show(self, phase: str) -> Progress:
        """Tell how the record stands, and return it: read at the start, told by the search from then on."""
        if self.moment is None:
            trials = self.store.trials(self.study.id, names=self.spec.objectives)
            self.moment = progress(Ledger(trials, self.spec.objectives), self.spec.objectives, phase, None)
        moment = replace(self.moment, phase=phase, seconds_left=None)
        self.on_progress(moment)
        return moment

    def begin(self, phase: str) -> None:
        """Mark the phase in the record and tell of it."""
        self.store.mark_phase(self.study.id, phase)
        self.tell("phase", f"The phase {phase} begins.")
        self.show(phase)

    def renew(self) -> None:
        """Renew the lease now and then."""
        if time.monotonic() - self.renewed >= RENEW_EVERY_S:
            self.renewed = time.monotonic()
            self.store.renew_lease(self.study.id)

    def note(self, kind: str, text: str, trial: int | None = None) -> None:
        """Record an event that the user should read as well."""
        self.notes.append(text)
        self.tell(kind, text, trial)
        self.store.add_event(self.study.id, kind, text, trial)

    def tell(self, kind: str, text: str, trial: int | None = None) -> None:
        """Tell the log of an event, once there is one."""
        if self.tracking is not None:
            self.tracking.note(kind, text, trial)

    def tell_outage(self, text: str) -> None:
        """Tell that the database is away, or back: all but the database hears of it."""
        self.notes.append(text)
        self.tell("database", text)


def run_study(
    spec: StudySpec,
    space: SearchSpace,
    target: Target,
    store: Store,
    runs: Path,
    on_progress: OnProgress,
    *,
    enqueue: Sequence[Point] = (),
    cells: Sequence[Point] = (),
    open_executor: OpenExecutor | None = None,
    lane_folder: Path | None = None,
) -> Summary:
    """Run the study to its end, or go on where it was left.

    Args:
        spec: resolved.
        space: of the spec and the target.
        target: opened.
        store: the record.
        runs: the study's own folder for files.
        on_progress: told of every step.
        enqueue: points to evaluate first.
        cells: points whose architectures are the named cells of the method `sklearn_grid`.
        open_executor: makes the pool; None makes the one that the spec names.
        lane_folder: where the locks of this machine's cores lie; None means one place for all studies of this user.

    Raises:
        InputError: where the data cannot be used, or the study exists with another spec or on another device.
        LeaseError: where another live driver runs the study.
    """
    known = store.find_study(spec.name)
    if known is not None:
        check_same_device(known, target)
        if known.finished_at is not None and known.spec == spec.to_json():
            return _summary(_Run(spec, space, target, store, known, on_progress), interrupted=False)
    on_progress(Progress("data"))
    dataset = open_dataset(spec.data)  # before anything is recorded: what cannot be read must leave no study behind
    if known is not None:
        check_same_data(known, dataset)
    elif spec.model is not None:
        on_progress(Progress("preflight"))
        check_model(spec, dataset, target)
    study = _require(spec, target, store, dataset)
    run = _Run(spec, space, target, store, study, on_progress, lane_folder)
    run.store = patient(store, run.tell_outage)
    run.store.take_lease(study.id, current_holder())
    try:
        sampler = _sampler_plan(spec, space, enqueue, cells)
        _run_steps(run, dataset, runs, sampler, open_pool if open_executor is None else open_executor)
        run.store.finish_study(study.id)
        return _summary(run, interrupted=False)
    except KeyboardInterrupt:
        run.note("interrupted", "Stopped. Nothing is lost: run the same command again to go on.")
        return _summary(run, interrupted=True)
    finally:
        run.store.release_lease(study.id)
        gc.unfreeze()  # what the search set aside


@dataclass(frozen=True)
class Bench:
    """A recorded study made ready to evaluate more: its pool holds its context, and `renew` keeps its lease."""

    study: StudyRecord
    executor: Executor
    renew: Callable[[], None]


@contextmanager
def reopened(
    spec: StudySpec,
    space: SearchSpace,
    target: Target,
    store: Store,
    runs: Path,
    phase: str,
    *,
    open_executor: OpenExecutor | None = None,
    lane_folder: Path | None = None,
) -> Iterator[Bench]:
    """Yield what the evaluations of a recorded study run on, for what is measured after its search.

    Args:
        spec: as it was recorded.
        space: of the spec and the target.
        target: opened.
        store: holds the study's lease until the end.
        runs: the study's own folder for files.
        phase: under which the time is recorded.
        open_executor: makes the pool; None makes the one that the spec names.
        lane_folder: where the locks of this machine's cores lie; None means one place for all studies of this user.

    Raises:
        InputError: where there is no such study, its data cannot be used any more, or the device is another one.
        LeaseError: where another live driver runs the study.
    """
    study = store.find_study(spec.name)
    if study is None:
        raise input_error("the study", "in the storage", repr(spec.name), "Run `automl search` first.")
    check_same_device(study, target)
    dataset = open_dataset(spec.data)
    check_same_data(study, dataset)
    store.take_lease(study.id, current_holder(), phase)
    run = _Run(spec, space, target, store, study, lambda _: None, lane_folder)
    try:
        context = study_context(run.spec, run.target, run.store, run.study, dataset, runs, run.lane_folder)
        with _pool(spec, open_pool if open_executor is None else open_executor) as executor:
            executor.share(context)
            executor.share(_taught(run, context, executor))
            yield Bench(study, executor, run.renew)
    finally:
        store.release_lease(study.id)


def open_pool(spec: StudySpec) -> Executor:
    """Return the executor that the spec names."""
    if spec.search.executor == "inline":
        from automl.search.inline import InlineExecutor

        return InlineExecutor()
    from automl.search.ray_pool import RayExecutor

    return RayExecutor(pool_plan(spec))


def _require(spec: StudySpec, target: Target, store: Store, dataset: Dataset) -> StudyRecord:
    versions = {**package_versions(), **plugins.versions(spec.foreign_parts()), DATA: dataset.digest}
    return store.require_study(
        spec.name, spec.to_json(), spec.digest(), spec.search.seed, versions, target.fingerprint,
        spec.objectives, INDECISIVE,
    )  # fmt: skip


def _run_steps(run: _Run, dataset: Dataset, runs: Path, sampler: SamplerPlan, open_executor: OpenExecutor) -> None:
    """Do what the record lacks, step by step."""
    run.notes.extend(dataset.warnings)
    run.begin("controls")
    context = study_context(run.spec, run.target, run.store, run.study, dataset, runs, run.lane_folder)
    with _tracking(run), _pool(run.spec, open_executor) as executor, _audience(run, context) as audience:
        run.begin("teacher")
        executor.share(context)
        context = _taught(run, context, executor)
        executor.share(context)
        _search(run, _drive_plan(run, sampler, context, audience), executor, audience, runs)
        run.begin("finalists")
        _finish(run, executor, context.float_runtime)


def _search(run: _Run, plan: DrivePlan, executor: Executor, audience: Audience, runs: Path) -> None:
    """Run the search itself, by our own loop or by Ray Tune's."""
    show = audience.watching(run.on_progress)
    if run.spec.search.executor != "tune":
        run.moment = drive(plan, run.store, executor, audience, show)
        return
    from automl.search.ray_pool import RayExecutor
    from automl.search.ray_tune import drive_with_tune

    assert isinstance(executor, RayExecutor), "Tune runs on the cluster of a pool"
    run.moment = drive_with_tune(plan, run.store, executor, audience, show, runs)


def _taught(run: _Run, context: EvaluationContext, executor: Executor) -> EvaluationContext:
    """Return the context with the study's teacher, and with the data that it teaches on."""
    room = Classroom(run.spec, run.space, run.store, run.study, executor, run.renew)
    context = replace(context, teacher=room.teacher(context))
    executor.share(context)
    return room.taught(context)


def _sampler_plan(spec: StudySpec, space: SearchSpace, enqueue: Sequence[Point], cells: Sequence[Point]) -> SamplerPlan:
    method, seed = spec.search.method, spec.search.seed
    return SamplerPlan(
        space=space,
        objectives=spec.objectives,
        limits=spec.limits.bounds(),
        method=method,
        seed=seed,
        population=spec.search.population,
        enqueue=tuple(enqueue),
        grid=declared_grid(space, cells, seed) if method == "sklearn_grid" else None,
        features=joint_features(space) if method == "surrogate" else None,
    )


def _drive_plan(run: _Run, sampler: SamplerPlan, context: EvaluationContext, audience: Audience) -> DrivePlan:
    """Return the driver's plan; of the seconds it gets what the teacher took and the finalists will need not."""
    budget, dataset, batch = run.spec.budget, context.dataset, run.spec.target.batch
    seconds = budget.seconds
    if seconds is not None:
        seconds = max(0.0, seconds * (1 - run.spec.finalists.share) - run.store.total_seconds(run.study.id, "teacher"))

    def make_task(candidate: Candidate, known: Timing | None, step: RungStep | None) -> Task:
        if step is None:
            return EvaluateTask(candidate, known)
        return EvaluateTask(candidate, known, step.rung, step.since)

    def shape_key(candidate: Candidate) -> str:
        return candidate.shape_key(dataset.input_shape, len(dataset.classes), batch)

    return DrivePlan(
        run.study.id,
        sampler,
        Budget(budget.trials, budget.trained, seconds),
        run.target.fingerprint,
        make_task,
        shape_key,
        stopping_plan(run.spec.search.stopping),
        run.spec.search.timeout_seconds,
        audience.observe,
    )


def _finish(run: _Run, executor: Executor, runtime: str) -> None:
    """Retrain the best of the front, and the twin of the best compressed one; those in the record are done."""
    chosen = choose_finalists(recorded_front(run.store, run.study), run.spec.finalists.count)
    twin = choose_twin(chosen)
    wanted = [("finalist", trial) for trial in chosen] + ([("twin", twin)] if twin is not None else [])
    done = {(finalist.role, finalist.candidate.candidate_hash()) for finalist in run.store.finalists(run.study.id)}
    missing = {
        f"{role} of trial {trial.number}": (role, trial)
        for role, trial in wanted
        if finalist_key(role, trial.candidate, runtime) not in done
    }

    def record(key: str, completion: Completion) -> None:
        role, trial = missing[key]
        if completion.error is not None:
            run.note("failed", f"The {key} failed: {completion.error}", trial.number)
            return
        assert isinstance(completion.value, Measured)
        candidate = trial.candidate.twin(runtime).canonical() if role == "twin" else trial.candidate
        run.store.add_finalist(run.study.id, role, trial.number, candidate, completion.value)

    tasks: Mapping[str, Task] = {key: FinishTask(trial.candidate, role) for key, (role, trial) in missing.items()}
    run_all(executor, tasks, run.renew, record)


def _summary(run: _Run, interrupted: bool) -> Summary:
    if interrupted:
        run.moment = None  # the search was left in the middle: the record knows
    study = run.store.find_study(run.spec.name)
    assert study is not None
    return Summary(
        study=study,
        progress=run.show("interrupted" if interrupted else "done"),
        front=tuple(recorded_front(run.store, study)),
        finalists=tuple(run.store.finalists(study.id)),
        interrupted=interrupted,
        notes=tuple(run.notes),
    )


@contextmanager
def _pool(spec: StudySpec, open_executor: OpenExecutor) -> Iterator[Executor]:
    executor = open_executor(spec)
    try:
        yield executor
    finally:
        executor.close()


@contextmanager
def _tracking(run: _Run) -> Iterator[None]:
    """Open what the study's `tracking` names, for the time of the run."""
    plan, store, study = TrackingPlan(**dict(run.spec.tracking)), run.store, run.study
    known = () if plan == TrackingPlan() else store.trials(study.id)
    run.tracking = open_tracking(
        plan, study.name, run.space, known, run.notes.append,
        lambda number: store.trial(study.id, number),
    )  # fmt: skip
    if run.tracking.metrics_port is not None:
        run.note("tracking", f"Metrics: http://127.0.0.1:{run.tracking.metrics_port}/metrics while the search runs.")
    try:
        yield
    finally:
        run.tracking.close()


@contextmanager
def _audience(run: _Run, context: EvaluationContext) -> Iterator[Audience]:
    assert run.tracking is not None, "tracking is opened first"
    mirror = Mirror(run.store.url, run.spec.name, run.space, run.spec.objectives, Recorded(run.store, run.study.id))
    try:
        lane = LaneWatch(context.lane_folder, context.target.name, lambda text: run.note("lane", text))
        yield Audience(mirror, run.tracking, lane)
    finally:
        mirror.close()
        if mirror.fault is not None:
            run.note("mirror", f"Optuna's tables lag behind and are made whole next time: {mirror.fault}")
