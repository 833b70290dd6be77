"""Spaces that users bring: what they must decode to, and what of theirs is mended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from automl.candidate import (
    Candidate,
    Cell,
    DistillationPlan,
    Edge,
    Genotype,
    PruningPlan,
    QuantizationPlan,
    TrainingPlan,
)
from automl.combinations import TargetFacts
from automl.errors import InputError
from automl.space import Choice, Dimension, SearchSpace
from search_spaces.foreign import foreign_points, foreign_space, has_cells

FACTS = TargetFacts(frozenset({("onnxruntime", 32, 32), ("onnxruntime", 8, 8)}))
TRAINING = TrainingPlan("adamw", 0.001, 0.0, 32, 1, 0.0, 0.0, 0.0)
CELL = Cell(tuple((Edge("conv_3x3", 0), Edge("skip_connect", 1)) for _ in range(2)), (2, 3))


@dataclass(frozen=True)
class Decoder:
    """Decodes, with some parts of every candidate replaced."""

    changes: tuple[tuple[str, Any], ...] = ()

    def __call__(self, choices: Mapping[str, Choice]) -> Candidate:
        genotype = Genotype(CELL, CELL, 2, int(choices["channels"]))
        bits = (int(choices["bits"]),) * 3
        candidate = Candidate(
            genotype,
            PruningPlan(genotype.stage_widths()),
            QuantizationPlan(bits, bits),
            DistillationPlan(1.0, 1.0),
            TRAINING,
        )
        return replace(candidate, **dict(self.changes))


def own_space(**changes: Any) -> SearchSpace:
    dimensions = (
        Dimension("channels", "architecture", (16, 32), True),
        Dimension("bits", "quantization", (4, 8, 32), True, plain=32),
    )
    return SearchSpace("own", dimensions, Decoder(tuple(changes.items())))


def spec(**changes: Any) -> dict[str, Any]:
    space = {"name": "a.module:SPACE", "fix": {}, "allow": {}, **changes}
    return {"space": space, "target": {"channel_multiple": 16}, "search": {"enqueue": []}}


def genotype(normal: Cell = CELL, cells: int = 2, width: int = 16) -> Genotype:
    return Genotype(normal, CELL, cells, width)


def test_foreign_space_keeps_to_what_the_target_executes() -> None:
    space = foreign_space(own_space(), spec(), FACTS)
    candidate = space.decode(space.point({"channels": 16, "bits": 4}))
    assert candidate.quantization.pairs() == ((8, 8),) * 3  # four bits are not executed here


def test_foreign_space_is_narrowed() -> None:
    assert foreign_space(own_space(), spec(fix={"channels": 32}), FACTS).size() == 3
    with pytest.raises(InputError, match=r"space\.fix\.width must be a dimension: channels, bits"):
        foreign_space(own_space(), spec(fix={"width": 32}), FACTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genotype": genotype(Cell(((Edge("conv_7x7", 0), Edge("conv_3x3", 1)),), (2,)))}, "got 'conv_7x7'. Decoded"),
        ({"genotype": genotype(Cell(((Edge("conv_3x3", 2), Edge("conv_3x3", 1)),), (2,)))}, "earlier state .* got 2"),
        ({"genotype": genotype(Cell(CELL.nodes, (2, 4)))}, r"concatenated from states 2 to 3, but got \(2, 4\)"),
        ({"genotype": genotype(cells=1)}, "cells must be at least 2"),
        ({"genotype": genotype(width=24), "pruning": PruningPlan((24, 48, 96))}, "target.channel_multiple 16"),
        ({"genotype": None}, "a Candidate whose genotype is a Genotype, but got a NoneType"),
        ({"pruning": PruningPlan((16, 32))}, "kept_widths must be of 3 stages"),
        ({"pruning": PruningPlan((128, 64, 64))}, "each from 1 up to"),
        ({"quantization": QuantizationPlan((32,), (32,))}, "bits must be given for 3 stages"),
        ({"nonsense": 1}, "every point can be decoded, but got TypeError"),
    ],
)  # fmt: skip
def test_foreign_space_refuses_what_nothing_can_build(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        foreign_space(own_space(**changes), spec(), FACTS)


def test_foreign_space_refuses_what_is_none() -> None:
    with pytest.raises(InputError, match=r"space a\.module:SPACE must be a SearchSpace, but got a dict"):
        foreign_space({}, spec(), FACTS)
    twice = replace(own_space(), dimensions=own_space().dimensions[:1] * 2)
    with pytest.raises(InputError, match="different names, but got several called channels"):
        foreign_space(twice, spec(), FACTS)


def test_foreign_points_take_what_is_plain_where_nothing_is_said() -> None:
    space = foreign_space(own_space(), spec(), FACTS)
    plain, wide = foreign_points(space, ["uncompressed", {"chan*": 16, "bits": 8}])
    assert space.choices(plain) == {"channels": 32, "bits": 32}
    assert space.choices(wide) == {"channels": 16, "bits": 8}


def test_foreign_points_name_every_entry_that_is_not_in_the_space() -> None:
    space = foreign_space(own_space(), spec(), FACTS)
    with pytest.raises(InputError) as caught:
        foreign_points(space, ["darts_v2", "resnet", {"bits": 2}, {"depth": 1}, {"bits": 4}])
    said = str(caught.value)
    for part in ("darts_v2", "'resnet'", "search.enqueue: bits must be", "search.enqueue: depth must be a dimension"):
        assert part in said
    assert "search.enqueue: {'bits': 4} must be without the runtime and the bits of a stage" in said


def test_has_cells_looks_for_what_an_assistant_needs() -> None:
    assert not has_cells(own_space())
