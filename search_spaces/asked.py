"""What a study asks for by name: refused with the reason where it does not combine, or where nothing can act on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from automl.candidate import Candidate
from automl.combinations import objections
from automl.errors import Fault
from automl.space import Choice, Point, SearchSpace
from search_spaces.compression import PLAIN_CHOICES, SETTINGS, CompressionDecoder, has_setting


@runtime_checkable
class Decoder(Protocol):
    """A decoder of chosen values that lays methods of compression over a plain candidate."""

    @property
    def compression(self) -> CompressionDecoder:
        """Return what lays the methods over."""
        ...

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate, not yet canonical."""
        ...

    def plain(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate with every method at its default."""
        ...


def point_objections(space: SearchSpace, point: Point, where: str) -> list[Fault]:
    """Return why the methods that a point asks for do not combine, if they do not."""
    decoder, choices = space.decode_choices, space.choices(point)
    assert isinstance(decoder, Decoder)
    asked = decoder.compression.asked(decoder.plain(choices), choices).canonical()
    return objections(asked, decoder.compression.facts, where)


def inert_settings(space: SearchSpace, plainest: Mapping[str, Choice]) -> list[Fault]:
    """Return a fault, with the reason, for each method that a study names alone and that no candidate can use.

    Args:
        space: of the study.
        plainest: the choice of each dimension that compresses nothing.
    """
    decoder = space.decode_choices
    assert isinstance(decoder, Decoder)
    named = {name: given[0] for name, given in decoder.compression.settings.items() if len(given) == 1}
    wanted = [name for name, choice in named.items() if choice != PLAIN_CHOICES[name]]
    return [fault for name in wanted for fault in _inert(space, decoder, name, named[name], plainest)]


def _inert(
    space: SearchSpace, decoder: Decoder, name: str, choice: Choice, plainest: Mapping[str, Choice]
) -> list[Fault]:
    """Return why the setting never acts: it is mended away, or has nothing to act on, whatever bits are chosen."""
    bits = [dimension for dimension in space.dimensions if dimension.name.startswith("bits_")]
    section, key, _, _ = SETTINGS[name]
    reasons: dict[str, Fault] = {}
    for pair in sorted({pair for dimension in bits for pair in dimension.choices}, key=str):
        choices = {**plainest, **{one.name: pair for one in bits if pair in one.choices}, **_most_pruned(space)}
        asked = decoder.compression.asked(decoder.plain(choices), choices).canonical()
        found = objections(asked, decoder.compression.facts, f"{section}.{key} {choice}")
        if not found and has_setting(asked, name, choice):
            return []
        reasons |= {str(fault): fault for fault in found}
    expected = "a method that some candidate of the space can use"
    nothing = Fault(f"{section}.{key}", expected, f"{choice}, for which the target's bits leave nothing to act on")
    return list(reasons.values()) or [nothing]


def _most_pruned(space: SearchSpace) -> dict[str, Choice]:
    """Return the strongest choice of every ratio, so that criteria and schedules have something to act on."""
    return {one.name: one.choices[-1] for one in space.dimensions if one.name.startswith("prune_")}
