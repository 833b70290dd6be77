"""What a candidate of the joint spaces costs, estimated from its description alone: no network is built.

Multiply-adds, parameters and bytes of convolutions, counted roughly (no borders, no classifier): good enough to tell a
model which candidates are alike, and never shown to anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from automl.candidate import Candidate, Cell, Genotype
from automl.search.samplers.encoding import scaled_features
from automl.search.samplers.plan import Features
from automl.space import SearchSpace

Array = npt.NDArray[np.float64]

DENSE: Mapping[str, float] = {
    "conv_3x3": 9.0,
    "sep_conv_3x3": 2.0,
    "sep_conv_5x5": 2.0,
    "dil_conv_3x3": 1.0,
    "dil_conv_5x5": 1.0,
}
DEPTHWISE: Mapping[str, float] = {"sep_conv_3x3": 18.0, "sep_conv_5x5": 50.0, "dil_conv_3x3": 9.0, "dil_conv_5x5": 25.0}
INPUTS = 2.0  # 1x1 convolutions before each cell
REMEMBERED = 20_000  # points, so that the neighbours of a slowly moving front are counted once


def cheap_metrics(candidate: Candidate) -> tuple[float, float, float]:
    """Return the logarithms of the candidate's multiply-adds, parameters and bytes, all estimates."""
    widths = candidate.pruning.kept_widths
    genotype = candidate.genotype
    if isinstance(genotype, Genotype):
        stages = [genotype.stage_of(position) for position in range(genotype.cells)]
        weights = [_weights(genotype.cell_at(position), float(widths[stage])) for position, stage in enumerate(stages)]
    else:
        stages = list(genotype.stages)
        weights = [float(width) ** 2 for width in widths]
    bits = candidate.quantization.weight_bits
    total = 1.0 + sum(weights)
    size = 1.0 + sum(count * bits[min(stage, len(bits) - 1)] / 8 for stage, count in zip(stages, weights, strict=True))
    macs = 1.0 + sum(count * 4.0**-stage for stage, count in zip(stages, weights, strict=True))
    return float(np.log(macs)), float(np.log(total)), float(np.log(size))


def _weights(cell: Cell, width: float) -> float:
    """Return the weights of a cell whose nodes that do not reach its output count nothing."""
    edges = [edge for place in cell.reachable_nodes() for edge in cell.nodes[place]]
    dense = INPUTS * len(cell.concat) + sum(DENSE.get(edge.operation, 0.0) for edge in edges)
    return dense * width * width + sum(DEPTHWISE.get(edge.operation, 0.0) for edge in edges) * width


@dataclass
class _Counter:
    """Counts each point once, as long as there is room."""

    space: SearchSpace
    known: dict[tuple[int, ...], tuple[float, ...]] = field(default_factory=dict)

    def __call__(self, points: Sequence[Mapping[str, int]]) -> Array:
        if len(self.known) > REMEMBERED:
            self.known.clear()
        return np.array([self._count(point) for point in points])

    def _count(self, point: Mapping[str, int]) -> tuple[float, ...]:
        key = tuple(point.values())
        found = self.known.get(key)
        if found is None:
            found = cheap_metrics(self.space.decode_choices(self.space.choices(point)))
            self.known[key] = found
        return found


def joint_features(space: SearchSpace) -> Features:
    """Return the features of a joint space: three estimates, each a block of its own.

    Points must name the dimensions in the order of the space, as the surrogate's do.
    """
    return scaled_features(space, Features((1, 1, 1), _Counter(space)))
