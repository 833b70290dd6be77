"""Rungs: how much of its training a candidate gets before it is compared, and an evaluation that goes rung by rung.

By epochs, each rung is one cosine over the epochs between the rung below and itself (warm restarts; Loshchilov and
Hutter, "SGDR", 2017), so that what is compared has annealed and all rungs together take the epochs of one training. The
lowest rung prunes and replaces, so that even there the file that is scored has the size and the speed of the last one;
later rungs go on from its weights at that structure, each with its own share of rounding as the file will.

By data, each rung is a whole training anew, on more of the images: going on from a network that has settled on a few
of them ends up worse than starting afresh (Ash and Adams, "On Warm-Starting Neural Network Training", 2020), and the
top rung is then the very training that there would be without rungs.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from automl.candidate import Candidate
from automl.data.images import Split
from automl.evaluation.checkpoints import (
    Checkpoint,
    LostCheckpointError,
    continued,
    keep_checkpoint,
    read_checkpoint,
)
from automl.evaluation.context import EvaluationContext
from automl.evaluation.costs import cost_figures, costs_of, training_figures
from automl.evaluation.files import keep_file
from automl.evaluation.ladder import Stopwatch, find_footing, learn, measure
from automl.evaluation.recipes import search_recipe, smaller_recipe
from automl.evaluation.scoring import latency_measurement, score_file
from automl.evaluation.weights import Recipe, Trained, deployed_file, train_candidate
from automl.outcome import Failed, Infeasible, Measured, Measurement, Outcome, RungResult, Timing


@dataclass(frozen=True)
class Rung:
    """A fidelity: the share of the epochs (or of the training images) of a whole training, above 0, 1 at the top.

    `index` counts from 0, the lowest; `by` is what the share is of.
    """

    index: int
    share: float
    by: Literal["epochs", "data"] = "epochs"

    @property
    def is_top(self) -> bool:
        """Tell whether this is the whole training."""
        return self.share >= 1.0

    def epochs_of(self, whole: int) -> int:
        """Return how many of the epochs of a whole training are done at this rung: at least one."""
        return whole if self.by == "data" else min(max(round(self.share * whole), 1), whole)


@dataclass(frozen=True)
class _Leg:
    """The way from one rung to the next: what it begins from (None: nothing), and how the rest is trained."""

    before: Checkpoint | None
    recipe: Recipe
    notes: tuple[str, ...]

    def train(self, candidate: Candidate, context: EvaluationContext) -> Trained:
        """Return what this leg alone trains."""
        if self.before is None:
            return train_candidate(candidate, self.recipe, context)
        begun = self.before.trained
        if self.recipe.epochs == 0:  # so few epochs that two rungs are one
            return replace(begun, curve=(), seconds=0.0, peak_bytes=0)
        return train_candidate(candidate, self.recipe, context, begun=begun.network)


def evaluate_rung(
    candidate: Candidate, context: EvaluationContext, known: Timing | None, rung: Rung, since: RungResult | None
) -> Outcome | RungResult:
    """Return the candidate's result at a rung, or its outcome where that is the top one or ends it earlier.

    The curve, the seconds of training and the notes of a result cover all rungs up to it; its `seconds` by stage are
    those of this rung alone. Where the checkpoint of the rung below is missing or damaged, the training begins anew and
    goes as far; the outcome's notes say so.

    Args:
        candidate: canonical.
        context: of the study.
        known: the timing of an untrained network of the same shape on this device, if there is one.
        rung: how far to train.
        since: the result of the rung below, without its curve and samples if need be; None at the lowest.
    """
    watch = Stopwatch()
    untrained = since.timings[0] if since is not None and since.timings else None
    with tempfile.TemporaryDirectory(prefix="automl-") as folder:
        footing = None
        if rung.is_top or untrained is None:
            found = find_footing(candidate, context, known if untrained is None else untrained, Path(folder), watch)
            if isinstance(found, Infeasible):
                return found
            footing, untrained = found, found.untrained
        with watch.stage("load"):
            leg = _leg(candidate, context, rung, since)
        own = learn(lambda: leg.train(candidate, context), watch)
        if isinstance(own, Failed):
            return own
        trained = continued(leg.before, own)
        if footing is not None and rung.is_top:
            return _with_notes(measure(candidate, trained, footing, context, watch), leg.notes)
        figures = _partial_figures(candidate, trained, leg.recipe.split, Path(folder), context, watch)
    checkpoint = None
    if rung.by == "epochs":
        with watch.stage("checkpoint"):
            done = Checkpoint(trained, rung.epochs_of(candidate.training.epochs), leg.notes)
            checkpoint = keep_checkpoint(done, candidate, context.runs)
    figures = (_latency(untrained, since), *figures)
    return RungResult(rung.index, figures, (untrained,), trained.curve, dict(watch.seconds), checkpoint)


def _leg(candidate: Candidate, context: EvaluationContext, rung: Rung, since: RungResult | None) -> _Leg:
    """Return how to get to a rung: from the checkpoint of the one below, or from nothing."""
    whole = search_recipe(candidate, context)
    if rung.by == "data":
        return _Leg(None, smaller_recipe(whole, rung.share, context), ())
    end = rung.epochs_of(candidate.training.epochs)
    anew = replace(whole, epochs=end)
    if since is None:
        return _Leg(None, anew, ())
    try:
        if since.checkpoint is None:
            raise LostCheckpointError("was not kept")
        before = read_checkpoint(since.checkpoint, candidate, context)
    except LostCheckpointError as error:
        note = f"trained anew at rung {rung.index + 1}: the checkpoint of rung {since.rung + 1} {error}"
        return _Leg(None, anew, (note,))
    rest = replace(whole, epochs=max(end - before.epochs, 0), epochs_before=before.epochs)
    return _Leg(before, rest, before.notes)


def _partial_figures(
    candidate: Candidate, trained: Trained, split: Split, folder: Path, context: EvaluationContext, watch: Stopwatch
) -> tuple[Measurement, ...]:
    """Return the figures of a partly trained file, which is scored as it would be deployed and then thrown away."""
    with watch.stage("export"):
        file = keep_file(deployed_file(trained, candidate, split, context), folder, "partly_trained")
    path, sha256, device = folder / file.path, file.sha256, context.target.fingerprint
    with watch.stage("score"):
        scores = score_file(path, sha256, context.dataset.validation, context, runtime=candidate.runtime)
    with watch.stage("count"):
        costs = cost_figures(costs_of(trained.network, path), sha256, device)
    return (*scores, *costs, *training_figures(trained, sha256, device))


def _latency(untrained: Timing, since: RungResult | None) -> Measurement:
    """Return the latency, which is final: that of the rung below, or of the untrained file's timing."""
    if since is None or not since.timings:
        return latency_measurement(untrained)
    return next(one for one in since.measurements if one.name == "latency_ms")


def _with_notes(outcome: Measured | Infeasible, notes: tuple[str, ...]) -> Measured | Infeasible:
    return replace(outcome, notes=(*outcome.notes, *notes)) if isinstance(outcome, Measured) else outcome
