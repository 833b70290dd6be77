"""Commands about databases: what lies in one, and studies from one to another."""

from __future__ import annotations

from typing import Annotated

import typer

from automl.commands import options
from automl.commands.joining import database_path
from automl.commands.output import print_json, print_table, print_text, remark
from automl.errors import input_error

Url = Annotated[str, typer.Argument(metavar="URL", help="sqlite:///runs/automl.db or postgresql://user@host/database.")]
Source = Annotated[str, typer.Argument(metavar="SOURCE_URL", help="The database to copy from.")]
Destination = Annotated[str, typer.Argument(metavar="DEST_URL", help="The database to copy into; made if need be.")]
Studies = Annotated[list[str] | None, typer.Option("--study", help="A study; may be repeated. By default all.")]


def copy(
    source_url: Source,
    dest_url: Destination,
    study: Studies = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Copy whole studies from one database to another, SQLite or PostgreSQL; all of them or none.

    Every row is compared after it arrived. Not copied: the lease, the files of the run folder (models, teachers,
    checkpoints: copy the folder of the study beside the new database), and optuna-dashboard's tables, which the next
    `automl search` rebuilds from the record.
    """
    from automl.storage.copying import copy_studies

    _require_file(source_url)
    copied = copy_studies(source_url, dest_url, study or ())
    if as_json:
        print_json({"studies": copied})
        return
    rows = [(one.name, one.rows["automl_trial"], one.rows["automl_rung"], sum(one.rows.values())) for one in copied]
    print_table("Copied, and every row found equal", ("study", "trials", "rung results", "rows"), rows)
    remark("The files of the run folder were not copied; the next search rebuilds optuna-dashboard's tables.", quiet)


def info(url: Url, as_json: options.Json = False) -> None:
    """Say what lies in a database: schema version, size, studies and their trials. Nothing is changed."""
    from automl.storage.looking import storage_info

    _require_file(url)
    found = storage_info(url)
    if as_json:
        print_json(found)
        return
    version = "none: no study was ever recorded here" if found.version is None else str(found.version)
    if found.version is not None and found.version < found.newest_version:
        version += f" (the next command that opens it brings it to {found.newest_version})"
    print_text(f"{found.url}\nschema version {version}\n{found.size_bytes / 1e6:.1f} MB")
    if found.studies:
        rows = [(one.name, one.trials, one.finished, one.driven_by or "–") for one in found.studies]
        print_table("", ("study", "trials", "finished", "driven by"), rows)


def _require_file(url: str) -> None:
    """Refuse the URL of an SQLite file that is not there: opening it would make one."""
    path = database_path(url)
    if path is not None and not path.is_file():
        raise input_error(url, "a database that exists", "no such file")
