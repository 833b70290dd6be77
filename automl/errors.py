"""The errors a user can meet, each saying where, what was expected, what came and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing wrong with an input.

    `where` names the file, key or option; `expected` and `got` complete "must be ..., but got ...";
    `remedy` is one imperative sentence, empty where `expected` already says what to do.
    """

    where: str
    expected: str
    got: str
    remedy: str = ""

    def __str__(self) -> str:
        """Return the fault as one line for a person."""
        line = f"{self.where} must be {self.expected}, but got {self.got}"
        return f"{line}. {self.remedy}" if self.remedy else line


class AutomlError(Exception):
    """The root of every error that this platform raises on purpose."""


class InputError(AutomlError):
    """Something the user gave cannot be used; carries every fault found, not the first one only."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        assert self.faults, "an InputError needs at least one fault"
        super().__init__("\n".join(str(fault) for fault in self.faults))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Fault, ...]]]:
        """Survive pickling between processes with the faults whole."""
        return (InputError, (self.faults,))


def input_error(where: str, expected: str, got: object, remedy: str = "") -> InputError:
    """Return an InputError with a single fault."""
    return InputError([Fault(where, expected, str(got), remedy)])


class TargetError(AutomlError):
    """A target cannot do what was asked of it; the message says why and what would help."""


class StorageError(AutomlError):
    """The database cannot be used; the message names it (without its password) and says what to do."""


class UnavailableError(StorageError):
    """The database cannot be used for the moment: gone, locked, full. The same call may work in a while."""


class LeaseError(AutomlError):
    """Another live driver holds the study; the message names it."""
