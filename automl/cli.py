"""The command line, the composition root: wires every command and turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from automl.commands import (
    bundles,
    cluster,
    compressing,
    exits,
    looking,
    output,
    replaying,
    reporting,
    searching,
    sensitivity,
    spaces,
    storage,
    summaries,
    upkeep,
)
from automl.errors import AutomlError, InputError, LeaseError

COMMANDS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("init", spaces.init),
    ("search", searching.search),
    ("status", looking.status),
    ("trial", looking.trial),
    ("front", looking.front),
    ("export", bundles.export),
    ("verify", bundles.verify),
    ("predict", bundles.predict),
    ("compress", compressing.compress),
    ("sensitivity", sensitivity.sensitivity),
    ("report", reporting.report),
    ("summary", summaries.summary),
    ("dashboard", upkeep.dashboard),
    ("clean", upkeep.clean),
    ("doctor", upkeep.doctor),
    ("cluster", cluster.cluster),
    ("replay", replaying.replay),
    ("space", spaces.space),
)
STORAGE: tuple[tuple[str, Callable[..., Any]], ...] = (("copy", storage.copy), ("info", storage.info))
BASELINES: tuple[tuple[str, Callable[..., Any]], ...] = (("grid", searching.grid), ("random", searching.random))


def make_app() -> typer.Typer:
    """Return the application with every command."""
    app = typer.Typer(
        name="automl",
        help="Find networks that are accurate, small and fast on the device that will run them.",
        epilog=exits.EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    for name, command in COMMANDS:
        app.command(name, epilog=exits.EXIT_CODES)(command)
    baseline = typer.Typer(no_args_is_help=True, epilog=exits.EXIT_CODES)
    for name, command in BASELINES:
        baseline.command(name, epilog=exits.EXIT_CODES)(command)
    app.add_typer(baseline, name="baseline", help="Run the bar: the same evaluation, proposed by a grid or at random.")
    databases = typer.Typer(no_args_is_help=True, epilog=exits.EXIT_CODES)
    for name, command in STORAGE:
        databases.command(name, epilog=exits.EXIT_CODES)(command)
    app.add_typer(databases, name="storage", help="Look into databases, and copy studies between them.")
    return app


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; every error of ours becomes lines on standard error."""
    try:
        make_app()(arguments, prog_name="automl")
    except SystemExit as ending:  # how typer ends every command
        return ending.code if isinstance(ending.code, int) else exits.OK
    except InputError as error:
        for fault in error.faults:
            output.remark(str(fault))
        return exits.BAD_INPUT
    except LeaseError as error:
        output.remark(str(error))
        return exits.HELD
    except AutomlError as error:
        output.remark(str(error))
        return exits.BAD_INPUT
    return exits.OK


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))
