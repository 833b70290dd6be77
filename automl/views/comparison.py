"""Fronts against each other and against their own past, on one reference point, as plain facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from automl.errors import Fault, InputError
from automl.outcome import OBJECTIVES
from automl.pareto import Losses, hypervolume, losses, reference_point
from automl.views.facts import PointFacts, StudyFacts

PLANE = ("accuracy", "latency_ms")
AHEAD = 256  # trials that are held against a front at once


@dataclass(frozen=True)
class Comparison:
    """Several studies' fronts on one reference point.

    `reference` is in the objectives' own units and worse than every point of every front. `hypervolumes` and
    `shares` (of the box between the best value of each objective anywhere and the reference) follow `studies`.
    """

    studies: tuple[StudyFacts, ...]
    objectives: tuple[str, ...]
    reference: tuple[float, ...]
    hypervolumes: tuple[float, ...]
    shares: tuple[float, ...]
    same_device: bool


@dataclass(frozen=True)
class History:
    """The share of the present hypervolume that was reached after each trial."""

    numbers: tuple[int, ...]
    shares: tuple[float, ...]


def compare_facts(studies: Sequence[StudyFacts], objectives: Sequence[str] = PLANE) -> Comparison:
    """Return the comparison of the studies' fronts by `objectives`.

    Raises:
        InputError: where two studies' latencies are of different kinds, or no study has a front yet.
    """
    faults = _comparison_faults(studies, objectives)
    if faults:
        raise InputError(faults)
    fronts = [_losses(study.front, objectives) for study in studies]
    reference = reference_point(fronts)
    ideal = np.concatenate(fronts).min(axis=0)
    volumes = [hypervolume(front, reference) for front in fronts]
    box = float(np.prod(reference - ideal))
    signs = [OBJECTIVES[name].loss(1.0) for name in objectives]
    return Comparison(
        tuple(studies), tuple(objectives), tuple((reference * signs).tolist()), tuple(volumes),
        tuple(volume / box for volume in volumes), len({study.device for study in studies}) == 1,
    )  # fmt: skip


def _comparison_faults(studies: Sequence[StudyFacts], objectives: Sequence[str]) -> list[Fault]:
    faults = []
    kinds = {study.name: study.latency_kind for study in studies}
    if "latency_ms" in objectives and len(set(kinds.values())) > 1:
        got = ", ".join(f"{name}: {kind}" for name, kind in kinds.items())
        faults.append(Fault("the latencies of the studies", "of one kind", got))
    if not any(study.front for study in studies):
        faults.append(Fault("the fronts", "at least one with a trial on it", "none", "Search first."))
    return faults


def history_facts(facts: StudyFacts, objectives: Sequence[str] = PLANE) -> History:
    """Return how the hypervolume grew; empty while nothing is on the front. One entry a trial that changed it."""
    points = [point for point in facts.trials if point.standing in ("front", "dominated")]
    table = _losses(points, objectives)
    if len(table) == 0:
        return History((), ())
    reference = reference_point([table])
    front, numbers, volumes, at = table[:0], [0], [0.0], 0
    while at < len(table):
        news = ~np.any(np.all(front[:, None] <= table[None, at : at + AHEAD], axis=2), axis=0)
        if not news.any():
            at += AHEAD
            continue
        at += int(np.argmax(news))
        loss, number = table[at], points[at].number
        front = np.vstack([front[~np.all(loss <= front, axis=1)], loss])
        numbers.append(number if number is not None else numbers[-1])
        volumes.append(hypervolume(front, reference))
    shares = [volume / volumes[-1] for volume in volumes]
    last = facts.trials[-1].number
    return History((*numbers, last if last is not None else numbers[-1]), (*shares, shares[-1]))


def _losses(points: Sequence[PointFacts], objectives: Sequence[str]) -> Losses:
    values = [[point.value(name) for name in objectives] for point in points]
    return losses(np.array(values).reshape(len(values), len(objectives)), [OBJECTIVES[name] for name in objectives])
