"""A space that a user brings: held against what the platform can build, narrowed by the study, and its queue.

It may choose what it likes by dimensions of its own, as long as it decodes them into a `Candidate` of our cells.
What its candidates ask for together and the target cannot do is taken to the nearest that it can, as in our own space.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from automl.candidate import STAGES, Candidate, Cell, Genotype
from automl.combinations import TargetFacts, legal, objections
from automl.errors import Fault, InputError, input_error
from automl.space import Choice, Decode, Dimension, Point, SearchSpace
from search_spaces.cells import OPERATIONS
from search_spaces.genotypes import KNOWN, Entry, enqueue_point, plainest_choice

TRIED = 16  # seeded points that are decoded before a space is believed
UNCOMPRESSED = "uncompressed"


@dataclass(frozen=True)
class ForeignDecoder:
    """Decodes by a user's own function, and takes what comes to the nearest legal combination."""

    decode: Decode
    facts: TargetFacts

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate, not yet canonical."""
        return legal(self.decode(choices), self.facts)


def foreign_space(made: object, spec: Mapping[str, Any], facts: TargetFacts) -> SearchSpace:
    """Return a user's space, narrowed by the study's `space.fix` and `space.allow`.

    Args:
        made: what the user's part is, or has made.
        spec: the resolved study as plain values.
        facts: what combines on the study's target.

    Raises:
        InputError: where it is no space, cannot be sent to a worker, does not decode into our cells on this target,
            or lacks what the study narrows or queues.
    """
    where = f"space {spec['space']['name']}"
    if not isinstance(made, SearchSpace):
        raise input_error(where, "a SearchSpace", f"a {type(made).__name__}", "Return automl.space.SearchSpace.")
    _check_form(made, where)
    _check_candidates(made, where, spec["target"]["channel_multiple"])
    space = replace(made, decode_choices=ForeignDecoder(made.decode_choices, facts))
    space = space.narrow(spec["space"]["fix"], spec["space"]["allow"])
    foreign_points(space, spec["search"]["enqueue"])
    return space


def foreign_points(space: SearchSpace, entries: Sequence[Entry]) -> tuple[Point, ...]:
    """Return the point of each entry of the queue: choices by dimension, the others plain.

    A name may end in `*`, as in `space.fix`. The word `uncompressed` is all plain; known genotypes are found where the
    space has the dimensions of our cells.

    Raises:
        InputError: naming every entry that does not lie in the space, or whose methods do not combine.
    """
    points: list[Point] = []
    faults: list[Fault] = []
    for entry in entries:
        try:
            point = _queued(space, entry)
            points.append(point)
            faults.extend(_objections(space, point, f"search.enqueue: {entry}"))
        except InputError as error:
            faults.extend(error.faults)
    if faults:
        raise InputError(faults)
    return tuple(points)


def has_cells(space: SearchSpace) -> bool:
    """Tell whether the space has the dimensions by which our teacher's assistant is made smaller."""
    return {"width", "cells"} <= set(space.names())


def _queued(space: SearchSpace, entry: Entry) -> Point:
    if entry in KNOWN if isinstance(entry, str) else "genotype" in entry:
        return enqueue_point(space, entry)
    if isinstance(entry, str) and entry != UNCOMPRESSED:
        expected = f"{UNCOMPRESSED}, one of {', '.join(KNOWN)}, or choices by dimension"
        raise input_error("search.enqueue", expected, repr(entry))
    said = {} if isinstance(entry, str) else entry
    try:
        chosen = space.narrow(said, {})
    except InputError as error:
        raise InputError(
            replace(fault, where=fault.where.replace("space.fix.", "search.enqueue: ")) for fault in error.faults
        ) from None
    return space.point({one.name: _plainest(one) for one in chosen.dimensions})


def _plainest(dimension: Dimension) -> Choice:
    return dimension.plain if dimension.plain in dimension.choices else plainest_choice(dimension)


def _objections(space: SearchSpace, point: Point, where: str) -> list[Fault]:
    decoder = space.decode_choices
    assert isinstance(decoder, ForeignDecoder)
    return objections(decoder.decode(space.choices(point)).canonical(), decoder.facts, where)


def _check_form(space: SearchSpace, where: str) -> None:
    """Refuse a space whose dimensions share a name or that cannot be sent to another process."""
    names = space.names()
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or not names:
        got = f"several called {', '.join(repeated)}" if repeated else "none"
        raise input_error(where, "of one or more dimensions with different names", got)
    try:
        pickle.dumps(space)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        remedy = "Decode by a function at the top of a module, or by a frozen dataclass: no lambda, nothing nested."
        raise input_error(where, "a space that can be sent to a worker", error, remedy) from error


def _check_candidates(space: SearchSpace, where: str, channel_multiple: int) -> None:
    """Decode a few seeded points and refuse what nothing can build."""
    rng = np.random.default_rng(0)
    points = [dict.fromkeys(space.names(), 0), *(space.sample(rng) for _ in range(TRIED))]
    for point in points:
        choices = space.choices(point)
        try:
            candidate = space.decode_choices(choices)
        except Exception as error:  # a user's function can raise anything
            got = f"{type(error).__name__}: {error}, for {choices}"
            raise input_error(where, "a space whose every point can be decoded", got) from error
        faults = list(_candidate_faults(candidate, where, channel_multiple))
        if faults:
            raise InputError(replace(fault, remedy=f"Decoded from {choices}.") for fault in faults)


def _candidate_faults(candidate: object, where: str, channel_multiple: int) -> Iterator[Fault]:
    """Yield what keeps a decoded value from being built as cells."""
    if not isinstance(candidate, Candidate) or not isinstance(candidate.genotype, Genotype):
        got = candidate.genotype if isinstance(candidate, Candidate) else candidate
        yield Fault(where, "decoded into a Candidate whose genotype is a Genotype", f"a {type(got).__name__}")
        return
    for kind, cell in (("normal", candidate.genotype.normal), ("reduction", candidate.genotype.reduction)):
        yield from _cell_faults(cell, f"{where}: the {kind} cell")
    if candidate.genotype.cells < 2:
        yield Fault(f"{where}: cells", "at least 2, since two of them reduce", str(candidate.genotype.cells))
    full, kept = candidate.genotype.stage_widths(), candidate.pruning.kept_widths
    if len(kept) != STAGES or any(not 0 < one <= all_of for one, all_of in zip(kept, full, strict=False)):
        yield Fault(f"{where}: kept_widths", f"of {STAGES} stages, each from 1 up to {full}", f"{kept}")
    elif any(width % channel_multiple for width in (*full, *kept)):
        yield Fault(f"{where}: widths", f"multiples of target.channel_multiple {channel_multiple}", f"{full}, {kept}")
    pairs = (candidate.quantization.weight_bits, candidate.quantization.activation_bits)
    if any(len(bits) != STAGES for bits in pairs):
        yield Fault(f"{where}: bits", f"given for {STAGES} stages", f"{pairs}")


def _cell_faults(cell: Cell, where: str) -> Iterator[Fault]:
    states = len(cell.nodes) + 2
    for index, node in enumerate(cell.nodes):
        for edge in node:
            if edge.operation not in OPERATIONS:
                yield Fault(where, f"of the operations {', '.join(OPERATIONS)}", repr(edge.operation))
            if not 0 <= edge.source < index + 2:
                yield Fault(where, f"of edges from an earlier state (node {index}: 0 to {index + 1})", str(edge.source))
    if not cell.concat or not set(cell.concat) <= set(range(2, states)):
        yield Fault(where, f"concatenated from states 2 to {states - 1}", f"{cell.concat}")
