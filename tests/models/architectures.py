"""Small candidates and tasks that tests of networks share."""

from __future__ import annotations

from automl.candidate import (
    Candidate,
    Cell,
    DistillationPlan,
    Edge,
    Genotype,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
)
from automl.models.deployable import Deployable, Task
from automl.models.number_formats import Codes

EVERY_OPERATION = (
    "conv_3x3", "sep_conv_3x3", "max_pool_3x3", "avg_pool_3x3", "dil_conv_3x3", "dil_conv_5x5", "skip_connect",
    "sep_conv_5x5",
)  # fmt: skip
SOURCES = ((0, 1), (1, 2), (0, 3), (2, 4))
GREY_TASK = Task((8, 8), 10, (5.0,), (4.0,))


def cell(operations: tuple[str, ...] = EVERY_OPERATION, concat: tuple[int, ...] = (2, 3, 4, 5)) -> Cell:
    pairs = zip(operations[::2], operations[1::2], SOURCES, strict=True)
    return Cell(tuple((Edge(a, left), Edge(b, right)) for a, b, (left, right) in pairs), concat)


def candidate(
    *, kept: tuple[int, ...] = (8, 16, 32), bits: tuple[int, int] = (32, 32), width: int = 8, cells: int = 3,
    alpha: float = 1.0, temperature: float = 1.0, epochs: int = 2, learning_rate: float = 3e-3,
    operations: tuple[str, ...] = EVERY_OPERATION,
) -> Candidate:  # fmt: skip
    genotype = Genotype(cell(operations), cell(operations[::-1]), cells, width)
    training = TrainingPlan("adamw", learning_rate, 5e-4, 64, epochs, 0.0, 0.0, 5.0)
    quantization = QuantizationPlan((bits[0],) * 3, (bits[1],) * 3)
    return Candidate(genotype, PruningPlan(kept), quantization, DistillationPlan(alpha, temperature), training)


def network_file(
    network: Deployable, precisions: list[tuple[int, int]], *, codes: Codes | None, largest_code: int, batch: int = 1,
    **plan: object,
) -> bytes:  # fmt: skip
    weights, activations = zip(*precisions, strict=True)
    quantization = QuantizationPlan(weights, activations, **plan)  # type: ignore[arg-type]
    return network.write(quantization, codes=codes, largest_code=largest_code, batch=batch)
