"""Our own method: mutants and crossings of the front by the hundred, ranked by a probabilistic model of each objective.

A Gaussian process per objective over the encoded choices and the free features (after BANANAS; White et al., 2021)
predicts errors, times and sizes as logarithms; the next point is that with the greatest expected gain in hypervolume,
times the chance that it keeps the limits and may stand on the front. The points come from around the front (mutation
without a model is hard to beat on cells), from anywhere, and from climbing the gain itself.

Scales are fitted at growing intervals and recorded with the trial that fitted them, with the frame in which gains are
counted: from the best seen to what all but a tenth of all networks (by the model's own forecast) stay below. Trials
under way count as if they had come out as predicted, so that workers spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from automl.outcome import OBJECTIVES
from automl.search.record_view import RecordView
from automl.search.samplers.bar import sobol_point
from automl.search.samplers.belief import Frame, Judge, judge_of, learn, standards
from automl.search.samplers.encoding import Encoder, Indices, drawn_rows, encoder_of
from automl.search.samplers.gaussian_process import Array, Encoded, first_guess, fit
from automl.search.samplers.listening import Losses, heard_losses
from automl.search.samplers.moves import as_indices, as_point, crossed, mutated, near_rows
from automl.search.samplers.plan import DRAWS, Proposal, SamplerPlan

MEMORY = "surrogate"  # the key of what is recorded with the trial that fitted the scales
LEARNED_FROM = 300  # trials at most: the front, then the latest
FITTED_TO = 150  # of these, for the scales
GROWTH, LONGEST = 1.15, 100  # the scales are fitted again when there are so many times, or so many more, trials
STEPS = 25  # of a fit
FRAMED_OVER = 256  # drawn points whose forecast gives the frame
WORST_SHARE, SLOWEST_SHARE = 0.9, 0.99  # of all networks; what is worse gains nothing
LEAST_FRAME = 0.05  # of what was seen
MUTANTS, STRANGERS = 300, 50
CROSSED_SHARE, MOST_STEPS = 0.3, 2
CLIMBERS, CLIMBS, NEAR = 4, 2, 150
RANKED = 64  # that are looked at for one whose candidate is unknown


def surrogate(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield points by falling gain, known candidates left out; points of a Sobol sequence until there are enough."""
    losses = heard_losses(plan, view)
    whole = np.isfinite(losses.table).all(axis=1)
    if len(losses.trials) < plan.population or whole.sum() < 2:
        for draw in range(DRAWS):
            yield Proposal(sobol_point(plan, number - len(plan.enqueue) + 4096 * draw), {})
        return
    rng = np.random.default_rng([plan.seed, number])
    encoder, losses = encoder_of(plan), _bounded(losses)
    scales, frame, state = _prepared(plan, view, losses, encoder, number)
    judge = judge_of(plan, view, losses, encoder, scales, frame)
    rows, gains = _climbed(plan, *_pool(plan, losses, judge, rng), judge, rng)
    ranked = (as_point(plan.space, rows[place]) for place in np.argsort(-gains, kind="stable")[:RANKED])
    best = as_point(plan.space, rows[int(np.argmax(gains))])
    unknown = (point for point in ranked if plan.space.decode(point).candidate_hash() not in view.known)
    yield Proposal(next(unknown, best), state)


def _bounded(losses: Losses) -> Losses:
    """Return the front and the latest trials, in their order."""
    if len(losses.trials) <= LEARNED_FROM:
        return losses
    front = losses.front()[-LEARNED_FROM:]
    others = np.setdiff1d(np.arange(len(losses.trials)), front)
    kept = np.sort(np.concatenate([front, others[len(others) - (LEARNED_FROM - len(front)) :]]))
    return Losses([losses.trials[place] for place in kept], losses.table[kept], losses.violation[kept])


def _prepared(
    plan: SamplerPlan, view: RecordView, losses: Losses, encoder: Encoder, number: int
) -> tuple[Sequence[Array], Frame, Mapping[str, Any]]:
    """Return the scales, the frame, and what is to be recorded: the remembered ones with nothing, or new ones."""
    guess = first_guess(int(encoder.groups.max(initial=-1)) + 1)
    memory = _remembered(view, (len(plan.objectives), len(guess)))
    seen = _seen(plan, losses)
    frame = _frame(losses, seen if memory is None else np.asarray(memory["worst"]), seen)
    if memory is not None and number < min(GROWTH * memory["number"] + 1, memory["number"] + LONGEST):
        return [np.asarray(scales) for scales in memory["scales"]], frame, {}
    starts = [guess] * len(seen) if memory is None else [np.asarray(scales) for scales in memory["scales"]]
    columns = encoder(as_indices(plan.space, [trial.point for trial in losses.trials]))
    table = frame.winsorised(losses.table)
    scales = [_fitted(encoder, columns, values, start) for values, start in zip(table.T, starts, strict=True)]
    worst = _forecast(plan, encoder, scales, columns, table) * frame.span + frame.best
    frame = _frame(losses, worst, seen)
    kept = {"number": number, "worst": frame.worst.tolist(), "scales": [each.tolist() for each in scales]}
    return scales, frame, {MEMORY: kept}


def _frame(losses: Losses, worst: Array, seen: Array) -> Frame:
    """Return the frame from the best of those that gain something to `worst`, never much narrower than what was seen.

    A network that is fast and knows nothing says nothing about how fast a useful one can be.
    """
    least = np.nanmin(losses.table, axis=0)
    useful = losses.table[np.all(losses.table < worst, axis=1)]
    best = useful.min(axis=0) if len(useful) else least
    return Frame(best, np.maximum(worst, best + LEAST_FRAME * np.maximum(seen - least, 1e-6)))


def _remembered(view: RecordView, shape: tuple[int, int]) -> Mapping[str, Any] | None:
    """Return what the youngest fit recorded, where its scales still fit the encoding."""
    found = [trial.sampler_state[MEMORY] for trial in view.trials if MEMORY in trial.sampler_state]
    fitting = [memory for memory in found if np.shape(memory["scales"]) == shape]
    return max(fitting, key=lambda memory: int(memory["number"]), default=None)


def _seen(plan: SamplerPlan, losses: Losses) -> Array:
    """Return high quantiles of what was seen: the worst corner of a frame before there is a forecast."""
    columns = zip(losses.table.T, _shares(plan), strict=True)
    return np.array([np.nanquantile(values, share) for values, share in columns])


def _shares(plan: SamplerPlan) -> list[float]:
    return [WORST_SHARE if OBJECTIVES[name].direction == "maximize" else SLOWEST_SHARE for name in plan.objectives]


def _fitted(encoder: Encoder, columns: Array, values: Array, start: Array) -> Array:
    known = np.flatnonzero(np.isfinite(values))
    kept = known[-FITTED_TO:]
    mean, deviation = standards(values[kept])
    return fit(Encoded(columns[kept], encoder.groups), (values[kept] - mean) / deviation, start, STEPS)


def _forecast(plan: SamplerPlan, encoder: Encoder, scales: Sequence[Array], columns: Array, table: Array) -> Array:
    """Return the frame's worst corner: quantiles of what drawn points are expected to be."""
    points = encoder(drawn_rows(plan.space, FRAMED_OVER, np.random.default_rng(plan.seed)))
    nowhere = np.zeros((0, columns.shape[1]))
    means = [
        learn(scale, columns, values, encoder.groups, nowhere).at(points)[0]
        for scale, values in zip(scales, table.T, strict=True)
    ]
    return np.array([np.quantile(mean, share) for mean, share in zip(means, _shares(plan), strict=True)])


def _pool(plan: SamplerPlan, losses: Losses, judge: Judge, rng: np.random.Generator) -> tuple[Indices, Array]:
    """Return mutants and crossings of the front and a few strangers, with their gains."""
    front = as_indices(plan.space, [losses.trials[place].point for place in losses.front()])
    parents = front[rng.integers(len(front), size=MUTANTS)]
    others = front[rng.integers(len(front), size=MUTANTS)]
    bred = np.where(rng.random((MUTANTS, 1)) < CROSSED_SHARE, crossed(parents, others, rng), parents)
    mutants = mutated(plan.space, bred, rng.integers(1, MOST_STEPS + 1, size=MUTANTS), rng)
    rows = np.unique(np.concatenate([mutants, drawn_rows(plan.space, STRANGERS, rng)]), axis=0)
    return rows, judge.gains(rows)


def _climbed(
    plan: SamplerPlan, rows: Indices, gains: Array, judge: Judge, rng: np.random.Generator
) -> tuple[Indices, Array]:
    """Return the pool with the neighbours of its best, twice."""
    for _ in range(CLIMBS):
        best = np.argsort(-gains, kind="stable")[:CLIMBERS]
        near = np.unique(np.concatenate([near_rows(plan.space, rows[place]) for place in best]), axis=0)
        near = near[np.sort(rng.permutation(len(near))[:NEAR])]
        if len(near) == 0:
            break
        rows, gains = np.concatenate([rows, near]), np.concatenate([gains, judge.gains(near)])
    return rows, gains
