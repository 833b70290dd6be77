"""A search space as a value: flat, index-coded, countable; `decode` turns a point into a candidate.

A point is a mapping from each dimension's name to the index of a choice. The dimensions are the same for every
point (nothing is conditional), because samplers model a fixed space best; choices that turn out inert are made
canonical by the candidate, not hidden from the sampler.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from automl.candidate import Candidate
from automl.errors import Fault, InputError

Point = dict[str, int]
Choice = int | float | str
Decode = Callable[[Mapping[str, Choice]], Candidate]

GROUPS = ("architecture", "pruning", "quantization", "distillation", "training")


@dataclass(frozen=True)
class Dimension:
    """A named list of choices. `ordered` says that neighbouring choices are alike.

    `plain` is the choice of an uncompressed network, where the dimension compresses.
    """

    name: str
    group: str
    choices: tuple[Choice, ...]
    ordered: bool
    plain: Choice | None = None

    def __post_init__(self) -> None:
        assert self.choices, f"{self.name} has no choices"
        assert self.group in GROUPS, self.group


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions and the function that decodes their chosen values."""

    name: str
    dimensions: tuple[Dimension, ...]
    decode_choices: Decode

    def size(self) -> int:
        """Return the exact number of points, as a Python integer of any length."""
        return math.prod(len(dimension.choices) for dimension in self.dimensions)

    def names(self) -> tuple[str, ...]:
        """Return the dimensions' names in order."""
        return tuple(dimension.name for dimension in self.dimensions)

    def __contains__(self, point: object) -> bool:
        """Tell whether `point` names every dimension with an index in range, and nothing else."""
        if not isinstance(point, Mapping) or set(point) != set(self.names()):
            return False
        return all(0 <= point[dimension.name] < len(dimension.choices) for dimension in self.dimensions)

    def sample(self, rng: np.random.Generator) -> Point:
        """Return a point drawn uniformly."""
        return {dimension.name: int(rng.integers(len(dimension.choices))) for dimension in self.dimensions}

    def choices(self, point: Mapping[str, int]) -> dict[str, Choice]:
        """Return the chosen value of each dimension."""
        return {dimension.name: dimension.choices[point[dimension.name]] for dimension in self.dimensions}

    def point(self, choices: Mapping[str, Choice]) -> Point:
        """Return the point with these chosen values: the inverse of `choices`.

        Raises:
            InputError: where a dimension is missing, unknown, or lacks the value.
        """
        known = {dimension.name: dimension for dimension in self.dimensions}
        faults = [
            Fault(f"space {self.name}: {name}", "a dimension of the space", "an unknown name")
            for name in choices
            if name not in known
        ]
        for name, dimension in known.items():
            if name not in choices:
                faults.append(Fault(f"space {self.name}: {name}", "given", "nothing"))
            elif choices[name] not in dimension.choices:
                expected = f"one of {list(dimension.choices)}"
                faults.append(Fault(f"space {self.name}: {name}", expected, repr(choices[name])))
        if faults:
            raise InputError(faults)
        return {name: dimension.choices.index(choices[name]) for name, dimension in known.items()}

    def decode(self, point: Mapping[str, int]) -> Candidate:
        """Return the canonical candidate of the point.

        Raises:
            InputError: where the point does not lie in the space.
        """
        if point not in self:
            raise InputError([Fault(f"a point of space {self.name}", "an index for each dimension", str(dict(point)))])
        return self.decode_choices(self.choices(point)).canonical()

    def neighbours(self, point: Mapping[str, int]) -> Iterator[Point]:
        """Yield every point that differs in one dimension: by one step where it is ordered, else by any choice."""
        for dimension in self.dimensions:
            here = point[dimension.name]
            steps = (here - 1, here + 1) if dimension.ordered else range(len(dimension.choices))
            for index in steps:
                if index != here and 0 <= index < len(dimension.choices):
                    yield {**point, dimension.name: index}

    def encode(self, points: Sequence[Mapping[str, int]]) -> np.ndarray:
        """Return points as an `n x m` float array: ordered dimensions scaled to [0, 1], the others one-hot."""
        columns: list[np.ndarray] = []
        for dimension in self.dimensions:
            index = np.array([point[dimension.name] for point in points], dtype=np.int64)
            count = len(dimension.choices)
            if dimension.ordered:
                columns.append((index / max(count - 1, 1))[:, None].astype(np.float64))
            else:
                columns.append(np.eye(count)[index])
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(points), 0))

    def narrow(self, fix: Mapping[str, Choice], allow: Mapping[str, Sequence[Choice]]) -> SearchSpace:
        """Return the space with each dimension in `fix` held at one value and each in `allow` kept to some.

        A name may end in `*` to mean every dimension that starts so (`prune_*`).

        Raises:
            InputError: naming every unknown dimension and every value that it does not have.
        """
        wanted = [(f"space.fix.{key}", key, [value]) for key, value in fix.items()]
        wanted += [(f"space.allow.{key}", key, list(values)) for key, values in allow.items()]
        dimensions = {dimension.name: dimension for dimension in self.dimensions}
        faults: list[Fault] = []
        for where, pattern, values in wanted:
            matches = [name for name in dimensions if _matches(name, pattern)]
            if not matches:
                faults.append(Fault(where, f"a dimension: {', '.join(dimensions)}", "an unknown name"))
            for name in matches:
                kept = tuple(choice for choice in dimensions[name].choices if choice in values)
                unknown = [value for value in values if value not in self._dimension(name).choices]
                if unknown or not kept:
                    expected = f"some of {list(self._dimension(name).choices)}"
                    faults.append(Fault(where, expected, f"{unknown or values}"))
                else:
                    dimensions[name] = replace(dimensions[name], choices=kept)
        if faults:
            raise InputError(faults)
        return replace(self, dimensions=tuple(dimensions.values()))

    def _dimension(self, name: str) -> Dimension:
        return next(dimension for dimension in self.dimensions if dimension.name == name)


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
