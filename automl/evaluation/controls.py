"""The controls: two fixed networks, one in floating point and one in int8, that every latency is held against.

Their milliseconds are fixed once for each study and device; after that a candidate's latency is its ratio to the
control of its kind, times those milliseconds, so that the time of day does not order the front.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from automl.candidate import Cell, Edge, Genotype, QuantizationPlan
from automl.data.dataset import Dataset
from automl.evaluation.context import task_of
from automl.evaluation.files import keep_file
from automl.models.network import Network
from automl.targets.target import Control, Target

PLANS = {"fp32": QuantizationPlan((32,) * 3, (32,) * 3), "int8": QuantizationPlan((8,) * 3, (8,) * 3)}
CONTROL_SEED = 0


def control_genotype() -> Genotype:
    """Return the control's architecture: dense and separable convolutions, pools and skips, as candidates have."""
    cell = Cell(
        (
            (Edge("conv_3x3", 0), Edge("sep_conv_3x3", 1)),
            (Edge("skip_connect", 0), Edge("conv_3x3", 2)),
            (Edge("sep_conv_3x3", 1), Edge("max_pool_3x3", 2)),
            (Edge("skip_connect", 2), Edge("dil_conv_3x3", 3)),
        ),
        (2, 3, 4, 5),
    )
    return Genotype(cell, cell, 4, 16)


def prepare_controls(
    target: Target, dataset: Dataset, runs: Path, batch: int, references: Mapping[str, float]
) -> dict[str, Control]:
    """Write both controls and return them with their reference milliseconds.

    Args:
        target: measures those that `references` lacks.
        dataset: gives the input's shape and the classes.
        runs: the study's run folder.
        batch: images a call.
        references: kind -> milliseconds from the record; empty the first time.
    """
    torch.manual_seed(CONTROL_SEED)
    genotype = control_genotype()
    network = Network(genotype, genotype.stage_widths(), task_of(dataset))
    controls = {}
    for kind, plan in PLANS.items():
        content = network.write(plan, codes=None, largest_code=64, batch=batch)
        artefact = keep_file(content, runs, "controls")
        path = runs / artefact.path
        reference = references[kind] if kind in references else target.reference_ms(path, kind)
        controls[kind] = Control(kind, path, artefact.sha256, reference)
    return controls
