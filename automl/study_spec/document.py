"""A study file: found by path or name, read, overridden, and parsed into a `StudySpec`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from automl.data.dataset import Dataset, load_dataset
from automl.errors import Fault, InputError, input_error
from automl.study_spec.faults import fault_of, shown
from automl.study_spec.parts import DataSpec, StudySpec

PATHS = (  # values that are, or hold, the path of a file
    "data.path", "teacher.source", "target.name", "model.source", "model.weights", "distillation.unlabelled",
)  # fmt: skip
FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # package.module:factory
RECORDED = "recorded:"


def load_study_spec(path_or_name: str, overrides: Mapping[str, Any]) -> StudySpec:
    """Return the study in a file, or the shipped one of that name, with `overrides` by dotted key laid over it.

    A relative `data.path` or `teacher.source` in a file is meant from the file's folder; one among the overrides from
    the working directory. Overridden to run inline, a study leaves the cluster that its file names.

    Raises:
        InputError: naming every fault with file, key, what was expected and what was got.
    """
    where, text, folder = _read(path_or_name)
    document = _written_out(_parse(where, text))
    for key in PATHS:
        value = _found(document, key)
        if value is not None:
            _lay_over(document, key, _anchored(key, value, folder))
    for key, value in overrides.items():
        _lay_over(document, key, _anchored(key, value, Path.cwd()))
    if overrides.get("search.executor") == "inline":
        _leave_the_cluster(document, overrides)
    return parse_study_spec(document, where)


def parse_study_spec(document: Mapping[str, Any], where: str) -> StudySpec:
    """Return the study that a document of plain values says; `where` names it in faults.

    Raises:
        InputError: naming every fault.
    """
    try:
        return StudySpec.model_validate(_written_out(document))
    except ValidationError as error:
        faults = [fault_of(where, detail) for detail in error.errors(include_url=False)]
        raise InputError(faults) from None


def parse_override(text: str) -> tuple[str, Any]:
    """Return the dotted key and the value of an override such as `budget.trials=20`; the value is YAML.

    Raises:
        InputError: where it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise input_error("an override", "KEY=VALUE, such as budget.trials=20", repr(text))
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        raise input_error(f"the override {key.strip()}", "a YAML value", repr(value)) from None


def open_dataset(data: DataSpec) -> Dataset:
    """Return the data set that a study names, split as it says.

    Raises:
        InputError: see `automl.data.dataset.load_dataset`.
    """
    return load_dataset(
        data.source,
        data.path,
        seed=data.seed,
        validation_share=data.validation,
        test_share=data.test,
        resize=data.resize,
        train_limit=data.train_limit,
        validation_limit=data.validation_limit,
        augmentation=data.augmentation,
        length=data.length,
        vocabulary=data.vocabulary,
    )


def shipped_studies() -> dict[str, Path]:
    """Return the studies that are shipped as package data, by name.

    `importlib.resources` refuses the namespace packages of an editable installation, so their folders are asked.
    """
    package = find_spec("studies")
    if package is None or package.submodule_search_locations is None:
        return {}
    folders = list(package.submodule_search_locations)
    files = [path for folder in folders if Path(folder).is_dir() for path in sorted(Path(folder).glob("*.yaml"))]
    by_name = {path.stem: path for path in reversed(files)}  # the first of a name counts
    return dict(sorted(by_name.items()))


def _read(path_or_name: str) -> tuple[str, str, Path]:
    """Return how to call the file in faults, its text, and the folder that its paths are meant from."""
    shipped = shipped_studies()
    path = Path(path_or_name).expanduser()
    try:
        if path_or_name in shipped:
            return f"studies/{path_or_name}.yaml", shipped[path_or_name].read_text("utf-8"), Path.cwd()
        return path_or_name, path.read_text("utf-8"), path.resolve().parent
    except FileNotFoundError:
        expected = f"a study file, or one of the shipped studies: {', '.join(shipped)}"
        raise input_error(path_or_name, expected, "no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise input_error(path_or_name, "a readable text file", error) from None


def _parse(where: str, text: str) -> dict[str, Any]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise input_error(where, "YAML", " ".join(str(error).split())) from None
    if not isinstance(document, dict):
        raise input_error(where, "a mapping of keys such as name, data and budget", shown(document))
    repeated = list(_repeated(where, node))
    if repeated:
        raise InputError(repeated)
    return document


def _written_out(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the short form `space: NAME` written out, so that overrides can be laid over it."""
    space = document.get("space")
    return {**document, "space": {"name": space}} if isinstance(space, str) else dict(document)


def _repeated(where: str, node: yaml.Node, prefix: str = "") -> Iterator[Fault]:
    """Yield a fault for each key that is given twice: YAML would silently take the last one."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in seen:
            yield Fault(f"{where}: {name}", "given once", f"it again in line {key.start_mark.line + 1}")
        seen.add(name)
        yield from _repeated(where, value, f"{name}.")


def _lay_over(document: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        part = document.get(parent)
        document[parent] = dict(part) if isinstance(part, Mapping) else {}
        document = document[parent]
    document[last] = value


def _leave_the_cluster(document: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Take out the cluster that the file names, where the caller has the study run in this process."""
    for key in ("search.ray.address", "search.ray.lane"):
        if key not in overrides and _found(document, key) is not None:
            _lay_over(document, key, None)


def _found(document: Any, key: str) -> Any:
    for step in key.split("."):
        document = document.get(step) if isinstance(document, Mapping) else None
    return document


def is_factory(source: str) -> bool:
    """Tell whether a source names a factory in a module, such as "package.module:factory", rather than a file."""
    return FACTORY.fullmatch(source) is not None


def _anchored(key: str, value: Any, folder: Path) -> Any:
    """Return the value with a relative path in it made absolute; values that hold no path as they are."""
    if key not in PATHS or not isinstance(value, str | Path):
        return value
    text = str(value)
    prefix = RECORDED if text.startswith(RECORDED) else ""
    if (key == "teacher.source" and text in ("space", "none")) or (key == "target.name" and not prefix):
        return text
    if key in ("teacher.source", "model.source") and is_factory(text):
        return text
    return f"{prefix}{(folder / Path(text.removeprefix(prefix)).expanduser()).resolve()}"
