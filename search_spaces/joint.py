"""The joint space: architecture, pruning, quantization, distillation and training in one flat value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automl.candidate import Candidate, Genotype
from automl.combinations import TargetFacts
from automl.errors import Fault, InputError
from automl.space import Choice, Dimension, Point, SearchSpace
from search_spaces.asked import inert_settings, point_objections
from search_spaces.cells import CELL_KINDS, cell_dimensions, concat_dimension, decode_cell
from search_spaces.compression import (
    CompressionDecoder,
    compression_dimensions,
    compression_settings,
)
from search_spaces.distillation import decode_distillation, distillation_dimensions
from search_spaces.genotypes import Entry, enqueue_point, plainest_choice
from search_spaces.pruning import RATIOS, StageShapes, decode_pruning, describe_shapes, pruning_dimensions, width_faults
from search_spaces.quantization import decode_quantization, quantization_dimensions, searchable_pairs
from search_spaces.training import Levels, decode_training, training_choices, training_dimensions

SPACES = ("darts_cells",)


@dataclass(frozen=True)
class JointDecoder:
    """Decodes chosen values into a candidate; a value, so that a space can be sent to another process."""

    channel_multiple: int
    constants: Mapping[str, Choice]
    optimizer: str
    compression: CompressionDecoder = field(default_factory=CompressionDecoder)

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate, not yet canonical."""
        return self.compression(self.plain(choices), choices)

    def plain(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate with every method at its default."""
        normal, reduction = (decode_cell(choices, kind) for kind in CELL_KINDS)
        genotype = Genotype(normal, reduction, int(choices["cells"]), int(choices["width"]))
        return Candidate(
            genotype,
            decode_pruning(choices, genotype, self.channel_multiple),
            decode_quantization(choices),
            decode_distillation(choices),
            decode_training(choices, self.constants, self.optimizer),
        )


def joint_space(
    name: str,
    *,
    widths: Sequence[int],
    cells: Sequence[int],
    channel_multiple: int,
    formats: Iterable[tuple[int, int]],
    alphas: Sequence[float],
    temperatures: Sequence[float],
    training: Levels,
    optimizer: str,
    ratios: Sequence[float] = RATIOS,
    compression: CompressionDecoder = CompressionDecoder(),  # noqa: B008 a frozen value
) -> SearchSpace:
    """Return the joint space `name`.

    Args:
        name: one of `SPACES`.
        widths: start widths in channels, each a multiple of `channel_multiple`; a stage doubles the last one's.
        cells: how many cells are stacked.
        channel_multiple: what kept widths are rounded to.
        formats: (weight bits, activation bits) that the target can execute.
        alphas: weights of the hard labels; 1 means no teacher.
        temperatures: of the teacher's answers.
        training: the choices of each hyperparameter; more than one make a dimension.
        optimizer: of every training.
        ratios: of channels that pruning may remove from a stage.
        compression: the choices of methods, and what combines on the target.

    Raises:
        InputError: naming every fault of the arguments.
    """
    pairs = searchable_pairs(formats)
    faults = _faults(name, widths, channel_multiple, pairs)
    if faults:
        raise InputError(faults)
    dimensions = (
        *(dimension for kind in CELL_KINDS for dimension in cell_dimensions(kind)),
        concat_dimension(),
        Dimension("cells", "architecture", tuple(sorted(set(cells))), ordered=True),
        Dimension("width", "architecture", tuple(sorted(set(widths))), ordered=True),
        *pruning_dimensions(ratios),
        *quantization_dimensions(pairs),
        *distillation_dimensions(alphas, temperatures),
        *compression_dimensions(compression.settings),
        *training_dimensions(training),
    )
    constants = {key: choices[0] for key, choices in training.items() if len(choices) == 1}
    return SearchSpace(name, dimensions, JointDecoder(channel_multiple, constants, optimizer, compression))


def _faults(name: str, widths: Sequence[int], channel_multiple: int, pairs: tuple[str, ...]) -> list[Fault]:
    faults = width_faults(widths, channel_multiple)
    if name not in SPACES:
        faults.append(Fault("space.name", f"one of {', '.join(SPACES)}", repr(name)))
    if not pairs:
        faults.append(Fault("target", "able to execute a pair of weight and activation bits", "none"))
    return faults


def space_from_spec(
    spec: Mapping[str, Any],
    formats: Iterable[tuple[int, int]],
    facts: TargetFacts = TargetFacts(),  # noqa: B008
) -> SearchSpace:
    """Return the space of a study, narrowed by its `space.fix` and `space.allow`.

    Args:
        spec: the resolved study as plain values: `StudySpec.to_json()`, or what the record keeps of it.
        formats: (weight bits, activation bits) that the study's target can execute.
        facts: what combines on the target.

    Raises:
        InputError: naming every fault: of widths, names, narrowing, and cells in the queue outside the space.
    """
    space = joint_space(
        spec["space"]["name"],
        widths=spec["space"]["widths"],
        cells=spec["space"]["cells"],
        channel_multiple=spec["target"]["channel_multiple"],
        formats=formats,
        alphas=spec["distillation"]["alphas"],
        temperatures=spec["distillation"]["temperatures"],
        training=training_choices(spec["training"]),
        optimizer=spec["training"]["optimizer"],
        ratios=spec.get("pruning", {}).get("ratios", RATIOS),
        compression=CompressionDecoder(compression_settings(spec), facts),
    ).narrow(spec["space"]["fix"], spec["space"]["allow"])
    faults = inert_settings(space, {one.name: plainest_choice(one) for one in space.dimensions})
    if faults:
        raise InputError(faults)
    enqueued_points(space, spec["search"]["enqueue"])
    return space


def enqueued_points(space: SearchSpace, entries: Sequence[Entry]) -> tuple[Point, ...]:
    """Return the point of each known genotype in `entries`: what a study evaluates before it asks its sampler.

    Raises:
        InputError: naming every one that is unknown or outside the space.
    """
    points: list[Point] = []
    faults: list[Fault] = []
    for entry in entries:
        try:
            point = enqueue_point(space, entry)
            points.append(point)
            faults.extend(point_objections(space, point, f"search.enqueue: {entry}"))
        except InputError as error:
            faults.extend(error.faults)
    if faults:
        raise InputError(faults)
    return tuple(points)


@dataclass(frozen=True)
class SpaceFacts:
    """What there is to say about a space: `size` is exact; `shapes` is one entry a start width and stage."""

    name: str
    size: int
    dimensions: tuple[Dimension, ...]
    shapes: tuple[StageShapes, ...]

    def prunable_share(self) -> float:
        """Return the share of width-stage pairs that pruning can give more than one shape."""
        return sum(len(entry.kept_widths) > 1 for entry in self.shapes) / len(self.shapes)


def describe_space(space: SearchSpace, channel_multiple: int) -> SpaceFacts:
    """Return the facts of `space` for a person or, by `dataclasses.asdict`, for a program."""
    return SpaceFacts(space.name, space.size(), space.dimensions, describe_shapes(space, channel_multiple))
