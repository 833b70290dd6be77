"""Runs that are folders: a marker with the candidate's hash, written last, tells a whole one from remains."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

MARKER = "automl-complete"


def mark_complete(folder: Path, candidate_hash: str) -> None:
    """Mark a run's folder as whole."""
    (folder / MARKER).write_text(candidate_hash)


def complete_runs(parent: Path, pattern: str) -> dict[int, str]:
    """Return the candidate hash of every whole run by its number: group 1 of the pattern that its folder's name has."""
    found = {}
    for number, folder in _runs(parent, pattern):
        marker = folder / MARKER
        if marker.exists():
            found[number] = marker.read_text()
    return found


def remove_runs(parent: Path, pattern: str, number: int) -> list[Path]:
    """Remove what there is of the run of that number, and return the folders."""
    folders = [folder for found, folder in _runs(parent, pattern) if found == number]
    for folder in folders:
        shutil.rmtree(folder)
    return folders


def _runs(parent: Path, pattern: str) -> Iterator[tuple[int, Path]]:
    for folder in parent.iterdir() if parent.is_dir() else ():
        match = re.fullmatch(pattern, folder.name)
        if match is not None and folder.is_dir() and not folder.is_symlink():
            yield int(match.group(1)), folder
