"""The ladder: cheap and certain first, training only for what can be deployed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from automl.candidate import Candidate
from automl.errors import InputError
from automl.evaluation.context import EvaluationContext
from automl.evaluation.costs import TWIN, cost_figures, costs_of, file_figures, memory_figures, twin_latency
from automl.evaluation.files import contestant, control_for, keep_file, nominal_file
from automl.evaluation.networks import nominal_network
from automl.evaluation.recipes import search_recipe
from automl.evaluation.scoring import gain_over_twin, latency_measurement, score_file
from automl.evaluation.weights import Trained, deployed_file, train_candidate
from automl.models.packing import pack
from automl.outcome import Artefact, Failed, Infeasible, Measured, Measurement, Outcome, Timing
from automl.targets.target import Contestant
from automl.training.loop import DivergedError

AGREEMENT = 0.05  # how far the ratios of the untrained and the trained file may lie apart


@dataclass
class Stopwatch:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


@dataclass(frozen=True)
class Nominal:
    """The untrained files of a candidate and, if it is compressed, of its uncompressed twin.

    `twin_costs` measures what the twin costs beside its latency, which does not depend on its weights.
    """

    candidate: Contestant
    size_bytes: int
    twin: Contestant | None
    twin_bytes: int | None
    twin_costs: Callable[[], tuple[Measurement, ...]] = tuple


@dataclass(frozen=True)
class Footing:
    """What stands before any training: the untrained files, and the timing that says whether training pays."""

    nominal: Nominal
    untrained: Timing


def evaluate(candidate: Candidate, context: EvaluationContext, known: Timing | None = None) -> Outcome:
    """Return the outcome of a candidate: timed untrained, then trained, exported, scored and timed as that file.

    Args:
        candidate: canonical.
        context: of the study.
        known: the timing of an untrained network of the same shape on this device, if there is one.
    """
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="automl-") as folder:
        footing = find_footing(candidate, context, known, Path(folder), watch)
        if isinstance(footing, Infeasible):
            return footing
        trained = learn(lambda: train_candidate(candidate, search_recipe(candidate, context), context), watch)
        if isinstance(trained, Failed):
            return trained
        return measure(candidate, trained, footing, context, watch)


def find_footing(
    candidate: Candidate, context: EvaluationContext, known: Timing | None, folder: Path, watch: Stopwatch
) -> Footing | Infeasible:
    """Build and time the untrained candidate; infeasible where it cannot be built or is over a limit."""
    try:
        with watch.stage("build"):
            nominal = nominal_files(candidate, context, folder)
    except InputError as error:  # what is to be dropped cannot be spared by these cells, for one
        return Infeasible(f"it cannot be built: {error}", {}, (), (), dict(watch.seconds))
    with watch.stage("time_untrained"):
        untrained = known if known is not None else time_untrained(candidate, nominal, context)
    over = violations(untrained, nominal.size_bytes, context.limits)
    return _infeasible("before training", over, (untrained,), watch) if over else Footing(nominal, untrained)


def learn(train: Callable[[], Trained], watch: Stopwatch) -> Trained | Failed:
    """Return what `train` gives; failed, with the reason, where it diverges."""
    try:
        with watch.stage("train"):
            trained = train()
    except DivergedError as error:
        return Failed(str(error), "", watch.seconds)
    watch.seconds["training_core"] = trained.seconds
    return trained


def measure(
    candidate: Candidate, trained: Trained, footing: Footing, context: EvaluationContext, watch: Stopwatch
) -> Measured | Infeasible:
    """Export the trained network; score, time and count that file, which may still be over a limit."""
    nominal = footing.nominal
    with watch.stage("export"):
        content = deployed_file(trained, candidate, context.dataset.train, context)
        artefact = keep_file(content, context.runs)
    with watch.stage("score"):
        path, split = context.runs / artefact.path, context.dataset.validation
        scores = score_file(path, artefact.sha256, split, context, runtime=candidate.runtime)
    with watch.stage("time_trained"):
        timings = time_trained(artefact, candidate, nominal, footing.untrained, context)
    with watch.stage("count"):
        costs = (
            *file_figures(trained.network, trained, artefact, candidate.runtime, context),
            *nominal.twin_costs(),
        )
    over = violations(timings[-1], artefact.size_bytes, context.limits)
    if over:
        return _infeasible("when its trained file was timed", over, timings, watch)
    return measured(candidate, trained, artefact, nominal, timings, (*scores, *costs), context, watch)


def nominal_files(candidate: Candidate, context: EvaluationContext, folder: Path) -> Nominal:
    """Write the untrained files of the candidate and of its twin."""
    content = nominal_file(candidate, context)
    subject = contestant(content, candidate, context, folder)
    if not candidate.is_compressed():
        return Nominal(subject, len(content), None, None)
    twin = candidate.twin(context.float_runtime).canonical()
    twin_content = nominal_file(twin, context)
    if candidate.is_entropy_coded():  # what any file gains by being packed is no gain of the compression
        twin_content = pack(twin_content)
    against = contestant(twin_content, twin, context, folder)

    def twin_costs() -> tuple[Measurement, ...]:
        costs = costs_of(nominal_network(twin, context), against.path)
        figures = cost_figures(costs, against.sha256, context.target.fingerprint, TWIN)
        return (*figures, *memory_figures(against.path, twin.runtime, against.sha256, context, TWIN))

    return Nominal(subject, len(content), against, len(twin_content), twin_costs)


def time_untrained(candidate: Candidate, nominal: Nominal, context: EvaluationContext) -> Timing:
    """Return the timing of the untrained file; measured twice where its interval straddles the limit."""
    control = control_for(candidate, context)

    def once() -> Timing:
        return context.target.compare(nominal.candidate, control, nominal.twin, "untrained")

    timing = once()
    limit = context.limits.get("latency_ms")
    bounds = latency_measurement(timing)
    if limit is not None and bounds.low < limit < bounds.high:
        again = once()
        return min(timing, again, key=lambda one: one.control_ratio.high - one.control_ratio.low)
    return timing


def time_trained(
    artefact: Artefact, candidate: Candidate, nominal: Nominal, untrained: Timing, context: EvaluationContext,
    moment: str = "trained",
) -> tuple[Timing, ...]:  # fmt: skip
    """Return every timing of a candidate, the deciding one last.

    Where the trained file and the untrained one disagree by more than 5 %, they are timed head to head.
    """
    subject = Contestant(context.runs / artefact.path, artefact.sha256, nominal.candidate.shape_key, candidate.runtime)
    control = control_for(candidate, context)
    trained = context.target.compare(subject, control, nominal.twin, moment)
    if agree(untrained, trained):
        return (untrained, trained)
    head_to_head = context.target.compare(subject, control, nominal.candidate, "head to head with the untrained file")
    again = context.target.compare(subject, control, nominal.twin, moment)
    return (untrained, trained, head_to_head, again)


def agree(first: Timing, second: Timing) -> bool:
    """Tell whether two timings of one network lie within 5 % of each other."""
    return abs(first.control_ratio.value / second.control_ratio.value - 1.0) <= AGREEMENT


def is_stable(timings: tuple[Timing, ...]) -> bool:
    """Tell whether the timings of one network agree: directly, or head to head in one session."""
    if len(timings) <= 2:
        return True
    _, _, head_to_head, _ = timings
    ratio = head_to_head.twin_ratio
    return ratio is not None and abs(ratio.value - 1.0) <= AGREEMENT


def violations(timing: Timing, size_bytes: int, limits: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return each limit that is exceeded, with (value, bound)."""
    values = {"latency_ms": timing.latency_ms, "size_bytes": float(size_bytes)}
    return {name: (values[name], bound) for name, bound in limits.items() if name in values and values[name] > bound}


def measured(
    candidate: Candidate, trained: Trained, artefact: Artefact, nominal: Nominal, timings: tuple[Timing, ...],
    figures: tuple[Measurement, ...], context: EvaluationContext, watch: Stopwatch,
) -> Measured:  # fmt: skip
    """Return the outcome of a file that was trained, scored and timed; the last timing is the one that counts."""
    deciding = timings[-1]
    gain = gain_over_twin(
        candidate, deciding, artefact.size_bytes, nominal.twin_bytes, size_counts="size_bytes" in context.objectives
    )
    stable = is_stable(timings)
    notes = () if stable else ("unstable: two timings of one network stay apart by more than 5 %",)
    return Measured(
        measurements=(
            latency_measurement(deciding),
            *figures,
            *twin_latency(deciding, None if nominal.twin is None else nominal.twin.sha256),
        ),
        artefact=artefact,
        gain=gain,
        timings=timings,
        curve=trained.curve,
        seconds=dict(watch.seconds),
        stable=stable,
        notes=notes,
    )


def _infeasible(
    when: str, over: Mapping[str, tuple[float, float]], timings: tuple[Timing, ...], watch: Stopwatch
) -> Infeasible:
    limits = ", ".join(f"{name} {value:.6g} is over {bound:.6g}" for name, (value, bound) in over.items())
    measurements = [latency_measurement(timings[-1])]
    return Infeasible(f"{limits} ({when})", dict(over), tuple(measurements), timings, dict(watch.seconds))
