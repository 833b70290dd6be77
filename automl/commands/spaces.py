"""Commands about studies before they run: init, space."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from automl.commands import options
from automl.commands.joining import has_foreign_space, join, load_spec
from automl.commands.output import print_json, print_table, print_text, remark
from automl.errors import input_error

if TYPE_CHECKING:
    from automl.commands.joining import Joined
    from automl.study_spec import StudySpec
    from automl.targets import Format
    from search_spaces.joint import SpaceFacts

TEMPLATES = {"digits": "digits", "npz": "fashion_mnist", "folder": "folder"}

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="digits, an .npz file, or a folder of class folders.")
]
OutFile = Annotated[Path | None, typer.Option("--out", help="The study file to write; by default NAME.yaml here.")]
Resize = Annotated[
    int | None, typer.Option("--resize", help="The side in pixels that images of a folder are brought to.")
]
Force = Annotated[bool, typer.Option("--force", help="Write over an existing file.")]


def init(
    data: DataArgument,
    out: OutFile = None,
    name: options.Name = None,
    resize: Resize = None,
    force: Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a study file for your data, with limits taken from a quick probe of this machine."""
    spec = _draft(data, name, resize)
    path = Path(f"{spec.name}.yaml") if out is None else out
    if path.exists() and not force:
        raise input_error(str(path), "a new file", "one that exists", "Choose another --out, or --force.")
    from automl.commands.estimate import probe_typical

    remark("Reading the data and timing a few networks of the space...", quiet or as_json)
    typical = probe_typical(join(spec))
    limits = {"latency_ms": float(f"{typical.latency_ms:.2g}"), "size_bytes": typical.size_bytes}
    _write_study(path, spec, limits)
    if as_json:
        print_json({"study": str(path), "limits": limits})
    else:
        print_text(
            f"{path}: limits {limits['latency_ms']:g} ms and {limits['size_bytes']} bytes, the median of a few random "
            "networks of the space on this machine."
        )
        remark(f"Look at it, then: automl search {path}", quiet)


def space(spec: options.Spec, data: options.Data = None, as_json: options.Json = False) -> None:
    """Show the dimensions and the exact size of a study's space, its pruned shapes, and what the target can execute."""
    joined = join(load_spec(spec, {"data.path": data}))
    facts = _described(joined)
    formats = joined.target.formats()
    if as_json:
        print_json({**dataclasses.asdict(facts), "formats": formats, "target": joined.target.fingerprint})
        return
    _print_space(joined, facts, formats)


def _described(joined: Joined) -> SpaceFacts:
    """Return the facts of the study's space; what pruning makes of a user's own is known to that space alone."""
    from search_spaces.joint import SpaceFacts, describe_space

    if has_foreign_space(joined.spec):
        return SpaceFacts(joined.space.name, joined.space.size(), joined.space.dimensions, ())
    return describe_space(joined.space, joined.target.channel_multiple)


def _draft(data: str, name: str | None, resize: int | None) -> StudySpec:
    """Return the shipped study of this kind of data with the user's data in it."""
    source = _source_of(data)
    path = None if source == "digits" else Path(data)
    given = Path(data).stem if name is None else name
    overrides: Mapping[str, Any] = {"name": given, "data.path": path, "data.resize": resize}
    spec = load_spec(TEMPLATES[source], overrides)
    return spec.model_copy(update={"limits": type(spec.limits)()})


def _source_of(data: str) -> str:
    if data == "digits":
        return "digits"
    path = Path(data)
    if path.is_dir():
        return "folder"
    if path.suffix == ".npz" and path.is_file():
        return "npz"
    got = "another file" if path.is_file() else "no such file or folder"
    raise input_error(data, "digits, an .npz file, or a folder of class folders", got)


def _write_study(path: Path, spec: StudySpec, limits: Mapping[str, Any]) -> None:
    limited = spec.model_copy(update={"limits": type(spec.limits).model_validate(limits)})
    text = f"# Written by automl init; run it with: automl search {path}\n{limited.to_yaml()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise input_error(str(path), "a file that can be written", error) from error


def _print_space(joined: Joined, facts: SpaceFacts, formats: tuple[Format, ...]) -> None:
    from automl.combinations import combination_rows

    rows = [(one.group, one.name, len(one.choices), ", ".join(map(str, one.choices))) for one in facts.dimensions]
    print_table(f"Space {facts.name} of study {joined.spec.name}", ("group", "dimension", "choices", "values"), rows)
    print_text(f"\nExactly {facts.size} points (about {float(facts.size):.2g}).\n")
    shapes = [
        (one.width, one.stage, len(one.kept_widths), ", ".join(map(str, one.kept_widths))) for one in facts.shapes
    ]
    if facts.shapes:  # a user's model and space have their own widths: `automl trial` and the report show them
        print_table("Distinct pruned shapes", ("start width", "stage", "shapes", "channels kept"), shapes)
        print_text(f"More than one shape for {facts.prunable_share():.0%} of the width-stage pairs.\n")
    table = [
        (one.runtime, one.weight_bits, one.activation_bits, "yes" if one.executable else "no", one.benefit, one.reason)
        for one in formats
    ]
    columns = ("runtime", "weight bits", "activation bits", "executable", "gain", "reason")
    print_table(f"Formats of {joined.target.name}", columns, table)
    print_table("\nWhat does not combine", ("methods", "why"), combination_rows())
