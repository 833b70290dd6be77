"""The controls: one fixed network in floating point and in int8, in each runtime, that latencies are held against.

Their milliseconds are fixed once for each study and device; after that a candidate's latency is its ratio to the
control of its kind, times those milliseconds, so that the time of day does not order the front. Nor does it order the
runtimes: the controls of a second runtime are timed head to head against the same files in the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from automl.candidate import Cell, Edge, Genotype, QuantizationPlan
from automl.data.dataset import Dataset
from automl.evaluation.context import task_of
from automl.evaluation.files import keep_file
from automl.models.deployable import Deployable, Task
from automl.models.network import Network
from automl.models.zoo.bert import bert_classifier
from automl.targets.target import ONNX_RUNTIME, Control, Target, control_kind

PRECISIONS = {"fp32": 32, "int8": 8}
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


def control_network(task: Task) -> Deployable:
    """Return the control: cells for images, a small transformer encoder for texts."""
    if len(task.input_shape) == 1:
        return bert_classifier(task.classes, task.input_shape[0], task.vocabulary).eval()
    genotype = control_genotype()
    return Network(genotype, genotype.stage_widths(), task)


def prepare_controls(
    target: Target, dataset: Dataset, runs: Path, batch: int, references: Mapping[str, float],
    runtimes: Sequence[str] = (ONNX_RUNTIME,),
) -> dict[str, Control]:  # fmt: skip
    """Write the control's files and return the controls of each runtime by kind, with their reference milliseconds.

    Args:
        target: measures those that `references` lacks.
        dataset: gives the input's shape and the classes.
        runs: the study's run folder.
        batch: images a call.
        references: kind -> milliseconds from the record; empty the first time.
        runtimes: that candidates may choose from; the controls of the first are timed by themselves.
    """
    torch.manual_seed(CONTROL_SEED)
    network = control_network(task_of(dataset))
    controls: dict[str, Control] = {}
    for precision, bits in PRECISIONS.items():
        stages = len(network.stage_ends())
        ranges = "dynamic" if dataset.tokenizer is not None and bits == 8 else "static"
        plan = QuantizationPlan((bits,) * stages, (bits,) * stages, activations=ranges)
        content = network.write(plan, codes=None, largest_code=64, batch=batch)
        artefact = keep_file(content, runs, "controls")
        path = runs / artefact.path
        beside: tuple[Control, ...] = ()
        for runtime in runtimes:
            kind = control_kind(runtime, precision)
            reference = references[kind] if kind in references else target.reference_ms(path, kind, *beside)
            controls[kind] = Control(kind, path, artefact.sha256, reference, runtime)
            beside = (controls[control_kind(runtimes[0], precision)],)
    return controls


def fastest_float_runtime(controls: Mapping[str, Control]) -> str:
    """Return the runtime whose floating-point control is fastest: the one that uncompressed twins are run in.

    Without controls, where nothing is timed, it is ONNX Runtime.
    """
    floats = [control for control in controls.values() if control.kind == control_kind(control.runtime, "fp32")]
    return min(floats, key=lambda control: control.reference_ms).runtime if floats else ONNX_RUNTIME
