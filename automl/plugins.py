"""Parts that users bring: entry points of their own packages, looked up only where a name is not one of ours.

`KINDS` says what each kind of part must be; docs/plugins.md says it at length, with an example. A space may also be
named by its place, `package.module:SPACE`, without a package around it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from automl.errors import AutomlError, Fault, InputError, input_error
from automl.space import SearchSpace

SPACES, SAMPLERS, CRITERIA = "automl.spaces", "automl.samplers", "automl.criteria"
TARGETS, DATASETS = "automl.targets", "automl.datasets"

PLACE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")  # package.module:NAME
NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Kind:
    """A kind of part: the key of a study that names one, what it must be, and the names that it is called with."""

    key: str
    expected: str
    arguments: tuple[str, ...]
    keywords: tuple[str, ...] = ()


KINDS = {
    SPACES: Kind(
        "space.name", "a SearchSpace, or a function (spec, formats, facts) that returns one",
        ("spec", "formats", "facts"),
    ),
    SAMPLERS: Kind(
        "search.method", "a function (plan, view, number) that yields Proposals", ("plan", "view", "number")
    ),
    CRITERIA: Kind(
        "pruning.criteria", "a function (network, evidence, widths) that returns scores by coupled group",
        ("network", "evidence", "widths"),
    ),
    TARGETS: Kind(
        "target.name", "a function (argument, *, batch, channel_multiple, lane_folder, runtimes) that returns a Target",
        ("argument",), ("batch", "channel_multiple", "lane_folder", "runtimes"),
    ),
    DATASETS: Kind("data.source", "a function (path, resize) that returns arrays", ("path", "resize")),
}  # fmt: skip


@cache
def entry_points(group: str) -> tuple[metadata.EntryPoint, ...]:
    """Return the entry points of a group, read once a process: a scan of every installed package takes some 10 ms."""
    return tuple(sorted(metadata.entry_points(group=group), key=lambda point: (point.name, _package(point))))


def names(group: str, built_in: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the installed plugins of a group; nothing of theirs is imported.

    Args:
        group: one of `KINDS`.
        built_in: the names that a plugin may not have.

    Raises:
        InputError: naming every plugin whose name is taken, or no name.
    """
    taken = {name.partition(":")[0]: "a built-in one" for name in built_in}
    faults: list[Fault] = []
    for point in entry_points(group):
        remedy = f"Uninstall {_package(point)}, or ask its author for another name."
        if NAME.fullmatch(point.name) is None:
            faults.append(Fault(_place(point), "named by letters, digits, dots and dashes", point.name, remedy))
        elif point.name in taken:
            faults.append(Fault(_place(point), "named like no other", f"the name of {taken[point.name]}", remedy))
        else:
            taken[point.name] = _place(point)
    if faults:
        raise InputError(faults)
    return tuple(point.name for point in entry_points(group))


def load(group: str, name: str, built_in: Sequence[str]) -> Any:
    """Return the part that a plugin brings.

    Args:
        group: one of `KINDS`.
        name: that is not in `built_in`.
        built_in: the names that are ours, for messages.

    Raises:
        InputError: where no plugin has the name, its name is taken, it cannot be imported, or it is something else.
    """
    kind, known = KINDS[group], names(group, built_in)
    if name not in known:
        raise input_error(kind.key, f"one of {', '.join([*built_in, *known])}", repr(name))
    point = next(point for point in entry_points(group) if point.name == name)
    remedy = f"Mend or uninstall {_package(point)}."
    return _checked(_imported(point.load, _place(point), remedy), kind, _place(point), remedy)


def is_place(text: str) -> bool:
    """Tell whether the text is of the form `package.module:NAME`."""
    return PLACE.fullmatch(text) is not None


def load_place(group: str, text: str) -> Any:
    """Return the part that `package.module:NAME` names; the working directory counts as a place of modules.

    Raises:
        InputError: where there is no such module or name in it, it cannot be imported, or it is something else.
    """
    kind = KINDS[group]
    module_name, _, name = text.partition(":")
    where, remedy = f"{kind.key} {text}", "Run from the folder that holds the module, or install its package."
    with _working_directory_importable():
        module = _imported(lambda: importlib.import_module(module_name), where, remedy)
    if not hasattr(module, name):
        raise input_error(where, f"a name in {module_name}", "nothing of that name", f"It has {_own_names(module)}.")
    return _checked(getattr(module, name), kind, where, f"Change it in {module_name}.")


def ask(part: Callable[..., Any], where: str, *arguments: Any, **keywords: Any) -> Any:
    """Return what a part that makes something answers.

    Raises:
        AutomlError: as the part raises it; `where` names the part in one of ours for anything else that it raises.
    """
    try:
        return part(*arguments, **keywords)
    except AutomlError:
        raise
    except Exception as error:  # foreign code again
        raise input_error(where, "a part that answers", _said(error), "Mend it.") from error


def versions(parts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the version of each package that brings one of the parts; of a place its package's or its file's SHA-256.

    Args:
        parts: (group, name or place) that a study uses and that are not ours.
    """
    found: dict[str, str] = {}
    for group, name in parts:
        points = [point for point in entry_points(group) if point.name == name]
        if is_place(name):
            module = name.partition(":")[0]
            found[module] = _module_version(module)
        elif points and points[0].dist is not None:
            found[points[0].dist.name] = points[0].dist.version
    return found


def _imported(load_it: Callable[[], Any], where: str, remedy: str) -> Any:
    try:
        return load_it()
    except Exception as error:  # what foreign code raises when it is imported can be anything
        raise input_error(where, "a part that can be imported", _said(error), remedy) from error


def _checked(value: Any, kind: Kind, where: str, remedy: str) -> Any:
    """Return the value if it is of its kind, as far as can be seen without calling it."""
    if kind is KINDS[SPACES] and isinstance(value, SearchSpace):
        return value
    if not callable(value):
        raise input_error(where, kind.expected, f"a value of type {type(value).__name__}", remedy)
    try:
        signature = inspect.signature(value)
    except ValueError:  # some callables written in C have none
        return value
    try:
        signature.bind(*kind.arguments, **dict.fromkeys(kind.keywords))
    except TypeError as error:
        name = getattr(value, "__name__", type(value).__name__)
        raise input_error(where, kind.expected, f"{name}{signature}", remedy) from error
    return value


def _own_names(module: ModuleType) -> str:
    """Return the names of what a module defines itself, for a message."""
    named = {name: getattr(value, "__module__", None) for name, value in vars(module).items() if name[0] != "_"}
    own = [
        name
        for name, home in named.items()
        if home == module.__name__ or isinstance(getattr(module, name), SearchSpace)
    ]
    return ", ".join(own[:20]) if own else "none of its own"


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _place(point: metadata.EntryPoint) -> str:
    """Return how an entry point is called in messages."""
    return f"plugin {point.name} of {_package(point)} ({point.group}: {point.value})"


def _package(point: metadata.EntryPoint) -> str:
    return "an unknown package" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _module_version(module: str) -> str:
    packages = metadata.packages_distributions().get(module.partition(".")[0], ())
    if packages:
        return metadata.version(packages[0])
    file = getattr(sys.modules.get(module), "__file__", None)
    return "unknown" if file is None else f"SHA-256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]}"


@contextmanager
def _working_directory_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
