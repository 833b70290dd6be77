"""What the surrogate believes of points it has not tried: losses in a frame, and the chance of being admitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl.outcome import Infeasible, Measured
from automl.pareto import front_mask
from automl.search.record_view import RecordView
from automl.search.samplers.encoding import Encoder, Indices
from automl.search.samplers.expected_gain import expected_gain, free_boxes
from automl.search.samplers.gaussian_process import Array, Encoded, Posterior, condition, first_guess
from automl.search.samplers.listening import SMALLEST, Losses, as_loss, open_trials, refused
from automl.search.samplers.moves import as_indices
from automl.search.samplers.plan import SamplerPlan
from automl.storage import TrialRecord

OUTSIDE = 0.5  # of a frame: how far beyond its ends a result may look to the model
LARGEST_FRONT = 60  # of three and more objectives, where the number of boxes grows with the square
LEAST_CHANCE = 1e-3
TINY = 1e-12


@dataclass(frozen=True)
class Frame:
    """Where gains are counted, by objective: 0 at `best`, 1 at `worst`, both in losses."""

    best: Array
    worst: Array

    @property
    def span(self) -> Array:
        """Return what one unit of the frame is in losses."""
        return np.maximum(self.worst - self.best, 1e-9)

    def scaled(self, table: Array) -> Array:
        """Return losses in the frame."""
        return np.asarray((table - self.best) / self.span)

    def winsorised(self, table: Array) -> Array:
        """Return losses in the frame, those far outside brought near: they would deafen the model to the others."""
        return np.clip(self.scaled(table), -OUTSIDE, 1.0 + OUTSIDE)


@dataclass(frozen=True)
class Belief:
    """A model of one figure: a posterior over standardised values, with their mean and deviation."""

    posterior: Posterior
    mean: float
    deviation: float

    def at(self, points: Array) -> tuple[Array, Array]:
        """Return the mean and the standard deviation of a measurement at encoded points, its noise included.

        What stands on a front is what was measured.
        """
        mean, variance = self.posterior.predict(points)
        return mean * self.deviation + self.mean, np.sqrt(variance + self.posterior.noise) * self.deviation


def learn(scales: Array, columns: Array, values: Array, groups: Indices, under_way: Array) -> Belief:
    """Return the belief after `values` at `columns`, and after the trials under way come out as it expects.

    Values that are not finite were not measured and are left out.
    """
    known = np.isfinite(values)
    mean, deviation = standards(values[known])
    standard = (values[known] - mean) / deviation
    posterior = condition(scales, Encoded(columns[known], groups), standard)
    if len(under_way):
        expected, _ = posterior.predict(under_way)
        joined = Encoded(np.vstack([columns[known], under_way]), groups)
        posterior = condition(scales, joined, np.concatenate([standard, expected]))
    return Belief(posterior, mean, deviation)


def standards(values: Array) -> tuple[float, float]:
    """Return the mean and the deviation of values, 0 and 1 where there are none or all are alike."""
    if len(values) == 0:
        return 0.0, 1.0
    deviation = float(values.std())
    return float(values.mean()), deviation if deviation > TINY else 1.0


@dataclass(frozen=True)
class Judge:
    """Says what a point is expected to gain.

    `beliefs` are of the objectives in the frame, `limits` pairs of a belief and its bound in the same units,
    `admission` of who may stand on a front (1) or failed or was refused (0), None where nobody did.
    """

    encoder: Encoder
    beliefs: Sequence[Belief]
    boxes: tuple[Array, Array]
    limits: Sequence[tuple[Belief, float]]
    admission: Belief | None

    def gains(self, rows: Indices) -> Array:
        """Return the expected gain of each row, times the chance that it keeps the limits and is admitted."""
        points = self.encoder(rows)
        means, deviations = (np.stack(part, axis=1) for part in zip(*(b.at(points) for b in self.beliefs), strict=True))
        gains = expected_gain(means, np.maximum(deviations, TINY), self.boxes)
        return np.asarray((gains + TINY * deviations.sum(axis=1)) * self._chance(points))

    def _chance(self, points: Array) -> Array:
        from scipy.special import ndtr

        chance = np.ones(len(points))
        for belief, bound in self.limits:
            mean, deviation = belief.at(points)
            chance *= ndtr((bound - mean) / np.maximum(deviation, TINY))
        if self.admission is not None:
            chance *= np.clip(self.admission.at(points)[0], 0.0, 1.0)
        return np.maximum(chance, LEAST_CHANCE)


def judge_of(
    plan: SamplerPlan, view: RecordView, losses: Losses, encoder: Encoder, scales: Sequence[Array], frame: Frame
) -> Judge:
    """Return the judge after everything in the view; trials under way count as if they came out as expected."""
    columns = encoder(as_indices(plan.space, [trial.point for trial in losses.trials]))
    under_way = encoder(as_indices(plan.space, [trial.point for trial in open_trials(view)]))
    table = frame.winsorised(losses.table)
    beliefs = [
        learn(scales[place], columns, table[:, place], encoder.groups, under_way) for place in range(table.shape[1])
    ]
    front = frame.scaled(losses.table)[losses.admitted]
    if len(under_way):
        front = np.vstack([front, np.stack([belief.at(under_way)[0] for belief in beliefs], axis=1)])
    front = _thinned(front[front_mask(front)])
    limits = _limits(plan, losses, encoder, columns, beliefs, frame)
    return Judge(encoder, beliefs, free_boxes(front, np.ones(table.shape[1])), limits, _admission(plan, view, encoder))


def _thinned(front: Array) -> Array:
    """Return the front, of a large one in three and more objectives an even choice along the first."""
    if front.shape[1] < 3 or len(front) <= LARGEST_FRONT:
        return front
    order = np.argsort(front[:, 0], kind="stable")
    return np.asarray(front[order[np.linspace(0, len(front) - 1, LARGEST_FRONT).round().astype(int)]])


def _limits(
    plan: SamplerPlan, losses: Losses, encoder: Encoder, columns: Array, beliefs: Sequence[Belief], frame: Frame
) -> list[tuple[Belief, float]]:
    """Return a belief and its bound for each limit: an objective's own, or one of the logarithm of the figure."""
    limits: list[tuple[Belief, float]] = []
    for name, bound in plan.limits.items():
        if name in plan.objectives:
            place = plan.objectives.index(name)
            limits.append((beliefs[place], float((as_loss(name, [bound])[0] - frame.best[place]) / frame.span[place])))
            continue
        figures = np.array([_figure(trial, name) for trial in losses.trials])
        if np.isfinite(figures).any() and bound > 0:
            logarithms = np.log(np.maximum(figures, SMALLEST))
            scales = first_guess(int(encoder.groups.max(initial=-1)) + 1)
            nowhere = np.zeros((0, columns.shape[1]))
            limits.append((learn(scales, columns, logarithms, encoder.groups, nowhere), math.log(bound)))
    return limits


def _figure(trial: TrialRecord, name: str) -> float:
    outcome = trial.outcome
    measurements = outcome.measurements if isinstance(outcome, Measured | Infeasible) else ()
    return next((each.value for each in measurements if each.name == name), math.nan)


def _admission(plan: SamplerPlan, view: RecordView, encoder: Encoder) -> Belief | None:
    """Return the belief that a point neither fails nor is refused; None where none did."""
    ended = [trial for trial in view.trials if trial.state in ("measured", "failed")]
    labels = np.array([0.0 if trial.state == "failed" or refused(trial) else 1.0 for trial in ended])
    if len(labels) == 0 or labels.all():
        return None
    columns = encoder(as_indices(plan.space, [trial.point for trial in ended]))
    scales = first_guess(int(encoder.groups.max(initial=-1)) + 1)
    return learn(scales, columns, labels, encoder.groups, np.zeros((0, columns.shape[1])))
