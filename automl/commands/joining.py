"""What every command starts from: a study, its target, its space and a store. The only place that names spaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.errors import Fault, InputError, input_error

if TYPE_CHECKING:
    from automl.space import Point, SearchSpace
    from automl.storage import Store, StudyRecord
    from automl.study_spec import StudySpec
    from automl.targets import Target

RUNS = Path("runs")


@dataclass(frozen=True)
class Joined:
    """A study with its opened target and the space that its target leaves."""

    spec: StudySpec
    target: Target
    space: SearchSpace


def load_spec(spec: str, overrides: Mapping[str, Any]) -> StudySpec:
    """Return the study; overrides that are None are not given.

    Raises:
        InputError: naming every fault.
    """
    from automl.study_spec import load_study_spec

    return load_study_spec(spec, {key: value for key, value in overrides.items() if value is not None})


def join(spec: StudySpec) -> Joined:
    """Return the study with its target and space.

    Raises:
        InputError: where the target is unknown or absent, or the space does not suit it.
    """
    from search_spaces.joint import space_from_spec

    target = open_study_target(spec)
    formats = [(form.weight_bits, form.activation_bits) for form in target.formats() if form.executable]
    return Joined(spec, target, space_from_spec(spec.to_json(), formats))


def open_study_target(spec: StudySpec) -> Target:
    """Return the target that the study names.

    Raises:
        InputError: where it is unknown or absent.
    """
    from automl.targets import open_target

    return open_target(spec.target.name, batch=spec.target.batch, channel_multiple=spec.target.channel_multiple)


def enqueued(joined: Joined) -> tuple[Point, ...]:
    """Return the points that the study evaluates before it asks its sampler."""
    from search_spaces.joint import enqueued_points

    return enqueued_points(joined.space, joined.spec.search.enqueue)


def named_cells(joined: Joined) -> tuple[Point, ...]:
    """Return the points of the known cells that lie in the space: the cells of the declared grid.

    Raises:
        InputError: where none does.
    """
    from search_spaces.genotypes import KNOWN, enqueue_point

    found: list[Point] = []
    faults: list[Fault] = []
    for name in KNOWN:
        try:
            found.append(enqueue_point(joined.space, name))
        except InputError as error:
            faults.extend(error.faults)
    if not found:
        raise InputError(faults)
    return tuple(found)


def storage_of(spec: StudySpec, storage: str | None) -> str | None:
    """Return the database that the user chose, else the study's, else None for the default one."""
    return spec.storage if storage is None else storage


def connect(storage: str | None) -> Store:
    """Return the store at the URL; None means the default one.

    Raises:
        StorageError: where it cannot be used.
    """
    from automl.storage import open_store

    return open_store(storage)


def connect_existing(storage: str | None) -> Store:
    """Return the store to read from; a database file that is not there is not made.

    Raises:
        InputError: where there is no such file.
        StorageError: where it cannot be used.
    """
    from automl.storage.store import DEFAULT_URL

    url = DEFAULT_URL if storage is None else storage
    path = database_path(url)
    if path is not None and not path.is_file():
        remedy = "Run `automl search` here first, or name the database by --storage or AUTOML_STORAGE."
        raise input_error(url, "the database of a study", "no such file", remedy)
    return connect(url)


def runs_folder(storage: str | None) -> Path:
    """Return the run folder: that of an SQLite database's file, else `runs` in the working directory."""
    path = None if storage is None else database_path(storage)
    return RUNS if path is None else path.parent


def study_folder(storage: str | None, name: str) -> Path:
    """Return where the files of the study lie."""
    return runs_folder(storage) / name


def database_path(url: str) -> Path | None:
    """Return the file of an SQLite URL, None for any other database."""
    scheme, separator, rest = url.partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if separator and scheme.partition("+")[0] == "sqlite" and path not in ("", ":memory:") else None


def pick_study(store: Store, name: str | None) -> StudyRecord:
    """Return the study of that name, or the latest one.

    Raises:
        InputError: where there is none; names those that there are.
    """
    studies = store.studies()
    if name is None and studies:
        return studies[-1]
    found = next((study for study in studies if study.name == name), None)
    if found is None:
        known = ", ".join(study.name for study in studies)
        expected = f"one of: {known}" if known else "in the database"
        got = "none: the database holds no study" if not known else repr(name)
        raise input_error("the study", expected, got, "" if known else "Run `automl search` first.")
    return found


def spec_of(study: StudyRecord) -> StudySpec:
    """Return the study's spec as it was recorded."""
    from automl.study_spec import parse_study_spec

    return parse_study_spec(study.spec, f"study {study.name}")
