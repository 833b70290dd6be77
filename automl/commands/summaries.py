"""The command that looks into a file: automl summary."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.output import print_json, print_table, print_text, remark
from automl.errors import input_error

if TYPE_CHECKING:
    from automl.compression.onnx.facts import GraphFacts, LayerFacts
    from automl.compression.onnx.report import GraphReport, ReportRow

BUNDLE_FILES = ("model.onnx", "model.onnx.xz")

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="An ONNX file, plain or packed (.onnx.xz), or a bundle's folder.")
]
Report = Annotated[
    bool, typer.Option("--report", help="Also optimise the graph step by step and time each step on this CPU.")
]


def summary(file: File, report: Report = False, as_json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Show what a network's file holds: shape, parameters, multiply-adds and bytes of every layer, and in all."""
    from automl.compression.onnx.facts import graph_facts, layer_facts

    content, size = read_file(file)
    layers, totals = layer_facts(content), graph_facts(content)
    steps = _report(content, quiet or as_json) if report else None
    if as_json:
        print_json(
            {"file": str(file), "file_bytes": size, "totals": totals, "layers": layers}
            | ({} if steps is None else {"report": steps})
        )
        return
    _print_layers(layers)
    print_text(_totals(totals, size))
    if steps is not None:
        _print_report(steps)


def read_file(path: Path) -> tuple[bytes, int]:
    """Return the ONNX bytes of a file, packed or not, or of a bundle, and the bytes that it takes on disk.

    Raises:
        InputError: where there is no such file.
    """
    from automl.models.packing import read_model

    found = next((path / name for name in BUNDLE_FILES if (path / name).is_file()), None) if path.is_dir() else path
    if found is None or not found.is_file():
        got = "a folder without one" if path.is_dir() else "no such file"
        raise input_error(str(path), f"an ONNX file, or a folder with {' or '.join(BUNDLE_FILES)}", got)
    return read_model(found), found.stat().st_size


def _report(content: bytes, quiet: bool) -> GraphReport:
    from automl.compression.onnx.interface import is_dynamic, rebatched
    from automl.compression.onnx.optimisation import parse_model
    from automl.compression.onnx.report import latency_on, report_graph
    from automl.targets import open_target

    remark("Timing each step against the file as given.", quiet)
    target = open_target("cpu", batch=1, channel_multiple=1)
    model = parse_model(content)
    if is_dynamic(model):
        content = rebatched(model, 1).SerializeToString(deterministic=True)
    with tempfile.TemporaryDirectory() as folder:
        return report_graph(content, latency_on(target, Path(folder)))


def _print_layers(layers: tuple[LayerFacts, ...]) -> None:
    columns = ("layer", "kind", "output", "parameters", "multiply-adds", "bytes")
    print_table("", columns, [list(_layer_cells(layer)) for layer in layers])


def _layer_cells(layer: LayerFacts) -> Iterator[Any]:
    yield layer.name
    yield layer.kind
    yield "x".join(str(size) for size in layer.shape) or "?"
    yield from (f"{count:,}" for count in (layer.parameters, layer.multiply_adds, layer.size_bytes))


def _totals(totals: GraphFacts, size: int) -> str:
    packed = "" if size == totals.size_bytes else f", {totals.size_bytes:,} bytes unpacked"
    return (
        f"{totals.nodes} nodes, {totals.parameters:,} parameters ({totals.parameters / 1e6:.3f} M), "
        f"{totals.multiply_adds:,} multiply-adds ({totals.multiply_adds / 1e9:.3f} G), {size:,} bytes{packed}"
    )


def _print_report(report: GraphReport) -> None:
    columns = ("step", "nodes", "parameters", "multiply-adds", "bytes", "latency ratio", "outputs moved by")
    print_text("")
    print_table("Our steps", columns, [_step_cells(row) for row in report.rows])
    for row in report.rows:
        if row.undone:
            print_text(f"{row.name}: undone, {row.undone}")
    kinds = list(dict.fromkeys(kind for level in report.levels.values() for kind in level))
    rows = [[kind, *(level.get(kind, "") for level in report.levels.values())] for kind in kinds]
    print_text("")
    print_table("What ONNX Runtime makes of it: nodes at each level", ("kind", *report.levels), rows)
    found = "; ".join(" + ".join(island) for island in report.float_islands) or "none"
    print_text(f"Computed in floating point between integer codes: {found}")


def _step_cells(row: ReportRow) -> list[Any]:
    facts, ratio = row.facts, row.latency
    timed = "–" if ratio is None else f"×{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
    counts = (facts.nodes, facts.parameters, facts.multiply_adds, facts.size_bytes)
    moved = "undone" if row.undone else f"{row.difference:.1e}"
    return [row.name, *(f"{count:,}" for count in counts), timed, moved]
