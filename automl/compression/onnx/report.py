"""What each optimisation step does to an artefact, and what the runtime then makes of the graph."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from automl.compression.contents import graph_contents
from automl.compression.onnx.facts import GraphFacts, graph_facts
from automl.compression.onnx.optimisation import Step, optimisation_steps
from automl.errors import input_error
from automl.outcome import Ratio
from automl.targets.onnxruntime_session import runtime_errors
from automl.targets.target import Contestant, Control, Target

if TYPE_CHECKING:
    import onnx

LEVELS: Mapping[str, str] = {"basic": "ORT_ENABLE_BASIC", "extended": "ORT_ENABLE_EXTENDED", "all": "ORT_ENABLE_ALL"}
AS_GIVEN = "as given"

Latency = Callable[[bytes, bytes], Ratio]  # of a file, over that of the first


@dataclass(frozen=True)
class ReportRow:
    """The file after a step. `latency` is its ratio to the first row's, None for that row and where it was not timed.

    `difference` is how far the outputs are from the first row's, of max(1, the largest); a step that was undone says
    why, and has the figures of the file without it.
    """

    name: str
    facts: GraphFacts
    difference: float
    undone: str
    latency: Ratio | None


@dataclass(frozen=True)
class GraphReport:
    """The steps of the platform, then the runtime's own.

    `levels` gives, for each optimisation level of ONNX Runtime, how many nodes of each kind its graph has.
    `float_islands` are the pieces of the graph that runs which compute in floating point between integer codes.
    """

    rows: tuple[ReportRow, ...]
    levels: Mapping[str, Mapping[str, int]]
    float_islands: tuple[tuple[str, ...], ...]


def report_graph(content: bytes, latency: Latency | None = None) -> GraphReport:
    """Return what every step changes, each file timed against the first one where `latency` is given.

    Raises:
        InputError: where the file is not a model that ONNX Runtime can run.
    """
    rows = [ReportRow(AS_GIVEN, graph_facts(content), 0.0, "", None)]
    last = content
    for step, after in optimisation_steps(content):
        changed = after != last
        ratio = latency(after, content) if latency is not None and changed else rows[-1].latency
        facts = graph_facts(after) if changed else rows[-1].facts
        rows.append(_row(step, facts, ratio, rows[-1]))
        last = after
    kinds = {level: node_kinds(runtime_graph(last, level)) for level in LEVELS}
    return GraphReport(tuple(rows), kinds, graph_contents(last).float_islands)


def _row(step: Step, facts: GraphFacts, ratio: Ratio | None, before: ReportRow) -> ReportRow:
    kept = step.changed and not step.undone
    return ReportRow(
        step.name, facts, step.difference if kept or step.undone else before.difference, step.undone, ratio
    )


def runtime_graph(content: bytes, level: str) -> onnx.ModelProto:
    """Return the graph that ONNX Runtime runs at an optimisation level: "basic", "extended" or "all".

    Raises:
        InputError: where it cannot run the file.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, LEVELS[level])
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        try:
            onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except runtime_errors() as error:
            raise input_error("the ONNX file", "one that ONNX Runtime can run", f"its error: {error}") from error
        return onnx.load(options.optimized_model_filepath)


def node_kinds(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many nodes of each kind a graph has, the most frequent first."""
    return dict(Counter(node.op_type for node in model.graph.node).most_common())


def latency_on(target: Target, folder: Path) -> Latency:
    """Return what times a file against another on the target, in its lane; the files are written into `folder`."""

    def ratio(content: bytes, first: bytes) -> Ratio:
        paths = [_written(one, folder) for one in (content, first)]
        subject = Contestant(paths[0], sha256(content).hexdigest(), "step")
        control = Control("fp32", paths[1], sha256(first).hexdigest(), 1.0)
        return target.compare(subject, control, None, "report").control_ratio

    return ratio


def _written(content: bytes, folder: Path) -> Path:
    path = folder / f"{sha256(content).hexdigest()}.onnx"
    if not path.exists():
        path.write_bytes(content)
    return path
