"""The options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Spec = Annotated[str, typer.Argument(metavar="SPEC", help="A study file, or the name of a shipped study (digits).")]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `automl export` wrote.")]
StudyName = Annotated[str | None, typer.Option("--study", help="The study; by default the latest one.")]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        envvar="AUTOML_STORAGE",
        help="Database URL; by default the study's, else sqlite:///runs/automl.db.",
    ),
]
Data = Annotated[
    Path | None, typer.Option("--data", envvar="AUTOML_DATA", help="The .npz file or folder in place of the study's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results only, no progress and no remarks.")]
Seconds = Annotated[float | None, typer.Option("--seconds", help="Seconds of search, in place of the study's budget.")]
Trials = Annotated[int | None, typer.Option("--trials", help="Number of trials, in place of the study's budget.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Worker processes; by default one a core.")]
ExecutorName = Annotated[str | None, typer.Option("--engine", "--executor", help="ray, tune or inline.")]
RayAddress = Annotated[
    str | None,
    typer.Option("--ray-address", help="Run the workers on the Ray cluster that runs there: auto, or HOST:PORT."),
]
Name = Annotated[str | None, typer.Option("--name", help="What the study is called, in place of its file's name.")]
