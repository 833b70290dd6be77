"""Files of a run folder between machines that do not share it: to a worker what it lacks, and back what it made.

The driver leaves a mark in the run folder. A worker that does not see it works in a folder of its own: it is given the
files that the context and its task name, and the files that its answer names travel with the answer. The driver
writes those before it records anything.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from automl.errors import AutomlError
from automl.evaluation import AssistantTask, EvaluateTask, EvaluationContext, Teacher
from automl.outcome import Measured, RungResult
from automl.search.executor import Completion

MARK = ".driver"  # holds the id of the driver that wrote it last
_PREFIX = "automl-runs-"

Files = Mapping[str, bytes]
"""Contents by POSIX path relative to a run folder."""


@dataclass(frozen=True)
class Delivery:
    """How a task ended, with the files that its value names where the driver has not got them."""

    completion: Completion
    files: Files


def leave_mark(runs: Path, driver: str) -> None:
    """Write the driver's id into its run folder."""
    runs.mkdir(parents=True, exist_ok=True)
    (runs / MARK).write_text(driver, encoding="ascii")


def remove_mark(runs: Path) -> None:
    """Remove it again."""
    with suppress(OSError):
        (runs / MARK).unlink()


def sees_mark(runs: Path, driver: str) -> bool:
    """Tell whether this is the driver's own run folder."""
    try:
        return (runs / MARK).read_text(encoding="ascii") == driver
    except (OSError, ValueError):
        return False


def files_of_context(context: Any) -> Files:
    """Return the files of the run folder that every evaluation may need: controls, and what the teacher left."""
    if not isinstance(context, EvaluationContext):
        return {}
    names = [control.path.relative_to(context.runs).as_posix() for control in context.controls.values()]
    return read_files(context.runs, [*names, *_files_of_teacher(context.teacher)])


def files_of_task(task: Any, context: Any) -> Files:
    """Return the files of the run folder that this task goes on from."""
    if not isinstance(context, EvaluationContext):
        return {}
    names: list[str] = []
    if isinstance(task, EvaluateTask) and task.since is not None and task.since.checkpoint is not None:
        names = [task.since.checkpoint.path]
    elif isinstance(task, AssistantTask):
        names = _files_of_teacher(task.teacher)
    return read_files(context.runs, names)


def files_of_value(value: Any, runs: Path) -> Files:
    """Return the files that an answer names."""
    names: list[str] = []
    if isinstance(value, Measured):
        names = [value.artefact.path]
    elif isinstance(value, RungResult) and value.checkpoint is not None:
        names = [value.checkpoint.path]
    elif isinstance(value, Teacher):
        names = _files_of_teacher(value)
    return read_files(runs, names)


def read_files(runs: Path, names: Iterable[str]) -> Files:
    """Return the contents of those that are there."""
    return {name: (runs / name).read_bytes() for name in names if (runs / name).is_file()}


def write_files(files: Files, runs: Path) -> None:
    """Write files whole or not at all; those that are there already are left alone, since names are hashes."""
    for name, content in files.items():
        path = runs / name
        if not path.resolve().is_relative_to(runs.resolve()):
            raise AutomlError(f"a worker named {name}, which lies outside of the run folder {runs}")
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)


def own_folder() -> Path:
    """Return a folder of this process for files, and sweep those of processes that are gone."""
    root = Path(tempfile.gettempdir())
    for folder in root.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if Path("/proc").exists() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=root))


def moved(context: EvaluationContext, runs: Path) -> EvaluationContext:
    """Return the context with another run folder.

    Raises:
        AutomlError: where it names files of the user's that this machine lacks.
    """
    lacking = [name for name in _files_of_user(context) if not Path(name).exists()]
    if lacking:
        raise AutomlError(
            f"this node lacks {', '.join(lacking)}: put the user's own files at the same path on every node"
        )
    controls = {
        kind: replace(control, path=runs / control.path.relative_to(context.runs))
        for kind, control in context.controls.items()
    }
    return replace(context, runs=runs, controls=controls)


def _files_of_teacher(teacher: Teacher | None) -> list[str]:
    """Return what one training of a teacher left: its file, its weights, its logits and its record, which come last."""
    if teacher is None:
        return []
    names = [] if Path(teacher.path).is_absolute() else [teacher.path]
    if teacher.weights is not None:
        stem = teacher.weights.removesuffix(".npz")
        names += [teacher.weights, f"{stem}.logits.npy", f"{stem}.json"]
    return [*names, *_files_of_teacher(teacher.assistant)]


def _files_of_user(context: EvaluationContext) -> list[str]:
    names: list[str] = []
    if context.teacher is not None:
        names += [name for name in (context.teacher.path, *dict(context.teacher.others)) if Path(name).is_absolute()]
    for model in (context.model, context.teacher_model):
        if model is not None:
            names += [] if model.weights is None else [str(model.weights)]
            names += [] if model.is_factory else [model.source]
    return names
