"""A space of few dimensions: one operation on every edge, one pruning ratio and one pair of bits for all stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from automl.candidate import Candidate, Cell, DistillationPlan, Edge, Genotype, PruningPlan, QuantizationPlan
from automl.combinations import TargetFacts
from automl.space import Choice, Dimension, SearchSpace
from search_spaces.training import Levels, decode_training, training_choices, training_dimensions

OPERATIONS = ("sep_conv_3x3", "conv_3x3", "skip_connect")
SEARCHED_BITS = (8, 32)  # of weights and activations alike


def plain_cells(spec: Mapping[str, Any], formats: Sequence[tuple[int, int]], facts: TargetFacts) -> SearchSpace:
    """Return the space: as wide as the study's first width, in the floating point and integers of its target."""
    levels = training_choices(spec["training"])  # one choice of each hyperparameter, or more
    bits = tuple(bits for bits in SEARCHED_BITS if (bits, bits) in formats)
    dimensions = (
        Dimension("operation", "architecture", OPERATIONS, ordered=False),
        Dimension("depth", "architecture", (2, 3), ordered=True),
        Dimension("ratio", "pruning", (0.0, 0.5), ordered=True, plain=0.0),
        Dimension("bits", "quantization", bits, ordered=True, plain=32),
        *training_dimensions(levels),
    )
    decoder = PlainCells(
        width=spec["space"]["widths"][0],
        multiple=spec["target"]["channel_multiple"],
        criterion=spec["pruning"]["criteria"][0],
        levels=levels,
        optimizer=spec["training"]["optimizer"],
    )
    return SearchSpace("plain_cells", dimensions, decoder)


@dataclass(frozen=True)
class PlainCells:
    """Decodes chosen values; a value of its own, so that it can be sent to another process."""

    width: int
    multiple: int
    criterion: str
    levels: Levels
    optimizer: str

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate."""
        operation, bits = str(choices["operation"]), (int(choices["bits"]),) * 3
        cell = Cell(tuple((Edge(operation, 0), Edge("skip_connect", 1)) for _ in range(2)), (2, 3))
        genotype = Genotype(cell, cell, int(choices["depth"]), self.width)
        kept = tuple(self._kept(full, float(choices["ratio"])) for full in genotype.stage_widths())
        return Candidate(
            genotype,
            PruningPlan(kept, self.criterion),
            QuantizationPlan(bits, bits),
            DistillationPlan(1.0, 1.0),
            decode_training(choices, {name: given[0] for name, given in self.levels.items()}, self.optimizer),
        )

    def _kept(self, width: int, ratio: float) -> int:
        """Return the channels that stay: a multiple of what the target is fast at, at least one."""
        return max(int(width * (1 - ratio)) // self.multiple, 1) * self.multiple
