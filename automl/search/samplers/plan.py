"""What every method gets and gives: the plan, the proposal, and seeds that depend on the trial's number alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from automl.search.grid import Grid
from automl.space import Point, SearchSpace

DRAWS = 6  # a proposal that repeats a known candidate is drawn again


@dataclass(frozen=True)
class Features:
    """What is known of a point for nothing, before it is trained: path encodings, parameters, multiply-adds.

    `of` gives an `n x p` array for `n` points. `blocks` are numbers of neighbouring columns, `p` in all: the columns
    of a block share a length scale, so that one block of many columns (an encoding) counts like one figure.
    """

    blocks: tuple[int, ...]
    of: Callable[[Sequence[Mapping[str, int]]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class SamplerPlan:
    """Everything that proposals depend on besides the record. `limits` maps an objective to its upper bound.

    `enqueue` holds points that are proposed first; `grid` is the sub-grid of the method `sklearn_grid`; `features` is
    what the method `surrogate` knows of a point besides its choices.
    """

    space: SearchSpace
    objectives: tuple[str, ...]
    limits: Mapping[str, float]
    method: str
    seed: int
    population: int
    enqueue: tuple[Point, ...] = ()
    grid: Grid | None = None
    features: Features | None = None


@dataclass(frozen=True)
class Proposal:
    """A point of the space, what the sampler must remember with it (JSON values), and whether it was enqueued."""

    point: Point
    sampler_state: Mapping[str, Any]
    enqueued: bool = False


def draw_seed(plan: SamplerPlan, number: int, draw: int) -> int:
    """Return the seed of one draw of one trial."""
    return int(np.random.SeedSequence([plan.seed, number, draw]).generate_state(1)[0])
