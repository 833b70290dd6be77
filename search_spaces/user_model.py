"""The space of a user's own model: a pruning ratio and a pair of bits by stage, distillation, training, and how.

The architecture is fixed. A stage's ratio goes to all its coupled groups, each rounded to the channel multiple; asked
for by group, every group has a ratio of its own. Stages without a group that can lose channels have no ratio.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from automl.candidate import Candidate, PruningPlan, QuantizationPlan, UserModel
from automl.combinations import TargetFacts
from automl.errors import Fault, InputError
from automl.space import Choice, Dimension, Point, SearchSpace
from search_spaces.asked import inert_settings, point_objections
from search_spaces.compression import (
    PLAIN_CHOICES,
    CompressionDecoder,
    Settings,
    compression_dimensions,
    compression_settings,
)
from search_spaces.distillation import decode_distillation, distillation_dimensions
from search_spaces.pruning import kept_width
from search_spaces.quantization import PLAIN, parse_pair, searchable_pairs
from search_spaces.training import Levels, decode_training, training_choices, training_dimensions

BY_STAGE, BY_GROUP = "stage", "group"
UNPRUNED = 0.0


@dataclass(frozen=True)
class UserModelDecoder:
    """Decodes chosen values into a candidate; a value, so that a space can be sent to another process."""

    model: UserModel
    multiples: Mapping[str, int]
    constants: Mapping[str, Choice]
    optimizer: str
    compression: CompressionDecoder = field(default_factory=CompressionDecoder)

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate, not yet canonical."""
        return self.compression(self.plain(choices), choices)

    def plain(self, choices: Mapping[str, Choice]) -> Candidate:
        """Return the candidate with every method at its default."""
        return Candidate(
            self.model,
            PruningPlan(self._kept_widths(choices)),
            self._quantization(choices),
            decode_distillation(choices),
            decode_training(choices, self.constants, self.optimizer),
        )

    def _kept_widths(self, choices: Mapping[str, Choice]) -> tuple[int, ...]:
        model = self.model
        named = zip(model.groups, model.widths, model.stages, strict=True)
        return tuple(
            kept_width(
                width,
                float(choices.get(f"prune_{group}", choices.get(f"prune_{stage}", UNPRUNED))),
                self.multiples[group],
            )
            for group, width, stage in named
        )

    def _quantization(self, choices: Mapping[str, Choice]) -> QuantizationPlan:
        pairs = [parse_pair(str(choices[f"bits_{stage}"])) for stage in range(self.model.stage_count)]
        return QuantizationPlan(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))


def user_model_space(
    model: UserModel,
    *,
    ratios: Sequence[float],
    formats: Iterable[tuple[int, int]],
    channel_multiple: int,
    alphas: Sequence[float],
    temperatures: Sequence[float],
    training: Levels,
    optimizer: str,
    settings: Settings | None = None,
    facts: TargetFacts | None = None,
    by: str = BY_STAGE,
    group_multiples: Mapping[str, int] | None = None,
) -> SearchSpace:
    """Return the space of `model`.

    Args:
        model: what of it can be chosen.
        ratios: shares of the channels that pruning may take, each at least 0 and below 1.
        formats: (weight bits, activation bits) that the target can execute.
        channel_multiple: what kept widths are rounded to; a group that is narrower stays whole.
        alphas: weights of the hard labels; 1 means no teacher.
        temperatures: of the teacher's answers.
        training: the choices of each hyperparameter; more than one make a dimension.
        optimizer: of every training.
        settings: the choices of how things are compressed, see `search_spaces.compression`.
        facts: of the target, by which combinations are legal.
        by: "stage" or "group": what has a ratio of its own.
        group_multiples: of groups that count something else than channels (whole attention heads).

    Raises:
        InputError: naming every fault of the arguments.
    """
    pairs = searchable_pairs(formats)
    faults = [*_ratio_faults(ratios), *_other_faults(pairs, by)]
    if faults:
        raise InputError(faults)
    settings, facts = settings or {}, facts if facts is not None else TargetFacts()
    dimensions = (
        *_ratio_dimensions(model, ratios, by),
        *(
            Dimension(f"bits_{stage}", "quantization", pairs, ordered=False, plain=PLAIN)
            for stage in range(model.stage_count)
        ),
        *distillation_dimensions(alphas, temperatures),
        *training_dimensions(training),
        *compression_dimensions(settings),
    )  # fmt: skip
    decoder = UserModelDecoder(
        model,
        multiples=dict.fromkeys(model.groups, channel_multiple) | dict(group_multiples or {}),
        constants={key: choices[0] for key, choices in training.items() if len(choices) == 1},
        optimizer=optimizer,
        compression=CompressionDecoder(settings, facts),
    )
    return SearchSpace(model.name, dimensions, decoder)


def user_space_from_spec(
    spec: Mapping[str, Any], model: UserModel, formats: Iterable[tuple[int, int]], facts: TargetFacts | None = None,
    group_multiples: Mapping[str, int] | None = None,
) -> SearchSpace:  # fmt: skip
    """Return the space of a study of a user's model, narrowed by its `space.fix` and `space.allow`.

    Args:
        spec: the resolved study as plain values.
        model: described from `spec["model"]`.
        formats: (weight bits, activation bits) that the study's target can execute.
        facts: of the target.
        group_multiples: see `user_model_space`.

    Raises:
        InputError: naming every fault: of ratios, narrowing, and queued points outside the space.
    """
    space = user_model_space(
        model,
        ratios=spec["pruning"]["ratios"],
        formats=formats,
        channel_multiple=spec["target"]["channel_multiple"],
        alphas=spec["distillation"]["alphas"],
        temperatures=spec["distillation"]["temperatures"],
        training=training_choices(spec["training"]),
        optimizer=spec["training"]["optimizer"],
        settings=compression_settings(spec),
        facts=facts,
        group_multiples=group_multiples,
    ).narrow(spec["space"]["fix"], spec["space"]["allow"])
    inert = inert_settings(space, {dimension.name: _plainest(dimension) for dimension in space.dimensions})
    if inert:
        raise InputError(inert)
    queued_points(space, spec["search"]["enqueue"])
    return space


def queued_points(space: SearchSpace, entries: Sequence[Mapping[str, Choice] | str]) -> tuple[Point, ...]:
    """Return the point of each entry of the queue of a user's model: choices by dimension, the others plain.

    Plain is unpruned, in floating point, without a teacher, and the middle of each training range. A dimension's name
    may end in `*` (`bits_*`), as in `space.fix`; the one word that is no mapping is "uncompressed".

    Raises:
        InputError: naming every entry that does not lie in the space.
    """
    points: list[Point] = []
    faults: list[Fault] = []
    plain = {dimension.name: _plainest(dimension) for dimension in space.dimensions}
    for entry in entries:
        if isinstance(entry, str) and entry != "uncompressed":
            faults.append(Fault("search.enqueue", 'uncompressed, or choices such as {"prune_*": 0.5}', repr(entry)))
            continue
        try:
            point = space.point(plain | ({} if isinstance(entry, str) else _spread(space, entry)))
            points.append(point)
            faults.extend(point_objections(space, point, f"search.enqueue: {entry}"))
        except InputError as error:
            faults.extend(Fault(f"search.enqueue: {fault.where}", fault.expected, fault.got) for fault in error.faults)
            continue
        if isinstance(entry, str) and space.decode(points[-1]).is_compressed():
            faults.append(Fault(f"search.enqueue: {entry}", "in the space", "a space without it", "Leave it out."))
    if faults:
        raise InputError(faults)
    return tuple(points)


def _ratio_dimensions(model: UserModel, ratios: Sequence[float], by: str) -> list[Dimension]:
    choices = tuple(sorted({float(ratio) for ratio in ratios}))
    names: Sequence[object] = model.groups if by == BY_GROUP else sorted(set(model.stages))
    return [Dimension(f"prune_{name}", "pruning", choices, ordered=True, plain=UNPRUNED) for name in names]


def _ratio_faults(ratios: Sequence[float]) -> list[Fault]:
    if not ratios:
        return [Fault("pruning.ratios", "at least one ratio, such as 0.0", "none")]
    remedy = "Use pruning.drop to remove whole blocks."
    return [
        Fault("pruning.ratios", "at least 0 and below 1", f"{ratio:g}", remedy)
        for ratio in ratios
        if not 0 <= ratio < 1
    ]


def _other_faults(pairs: Sequence[str], by: str) -> list[Fault]:
    faults = []
    if not pairs:
        faults.append(Fault("target", "able to execute a pair of weight and activation bits", "none"))
    if by not in (BY_STAGE, BY_GROUP):
        faults.append(Fault("pruning ratios by", f"{BY_STAGE} or {BY_GROUP}", repr(by)))
    return faults


def _spread(space: SearchSpace, said: Mapping[str, Choice]) -> dict[str, Choice]:
    """Return the choices with each `name*` replaced by every dimension that starts so."""
    spread: dict[str, Choice] = {}
    for pattern, value in said.items():
        starts = [name for name in space.names() if pattern.endswith("*") and name.startswith(pattern[:-1])]
        spread.update(dict.fromkeys(starts or [pattern], value))
    return spread


def _plainest(dimension: Dimension) -> Choice:
    for plain in (PLAIN_CHOICES.get(dimension.name), PLAIN, UNPRUNED):
        if plain in dimension.choices and dimension.group != "training":
            return plain
    return dimension.choices[len(dimension.choices) // 2 if dimension.group == "training" else 0]
