from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.candidate import Candidate, candidate_from_json, candidate_to_json
from automl.errors import InputError
from automl.space import Point
from search_spaces.joint import describe_space, enqueued_points, space_from_spec
from tests.search_spaces.joint_spaces import FORMATS, plain_spec, points, study_space

SPACE = study_space()
INPUT = ((8, 8), 10)


def with_choices(point: Point, **choices: int | float | str) -> Candidate:
    return SPACE.decode(SPACE.point({**SPACE.choices(point), **choices}))


@given(st.integers(0, 2**32 - 1))
def test_space_samples_points_that_lie_in_it(seed: int) -> None:
    assert SPACE.sample(np.random.default_rng(seed)) in SPACE


@given(points(SPACE))
def test_space_decodes_to_a_canonical_candidate(point: Point) -> None:
    candidate = SPACE.decode(point)
    assert candidate == candidate.canonical()


@given(points(SPACE))
def test_space_gives_back_the_point_of_its_choices(point: Point) -> None:
    assert SPACE.point(SPACE.choices(point)) == point


@given(points(SPACE))
def test_decoded_candidate_survives_json(point: Point) -> None:
    candidate = SPACE.decode(point)
    assert candidate_from_json(json.loads(json.dumps(candidate_to_json(candidate)))) == candidate


@given(points(SPACE))
def test_decoded_candidate_keeps_whole_channel_multiples_within_each_stage(point: Point) -> None:
    candidate = SPACE.decode(point)
    widths = zip(candidate.pruning.kept_widths, candidate.genotype.stage_widths(), strict=True)
    assert all(kept % 16 == 0 and 16 <= kept <= full for kept, full in widths)


@given(points(SPACE), st.sampled_from([1.0, 2.0, 4.0, 8.0]))
def test_candidate_hash_ignores_the_temperature_without_weight(point: Point, temperature: float) -> None:
    plain = with_choices(point, alpha=1.0, temperature=1.0)
    assert with_choices(point, alpha=1.0, temperature=temperature).candidate_hash() == plain.candidate_hash()


@given(points(SPACE))
def test_candidate_hash_tells_temperatures_with_weight_apart(point: Point) -> None:
    cool, hot = (with_choices(point, alpha=0.7, temperature=value) for value in (2.0, 4.0))
    assert cool.candidate_hash() != hot.candidate_hash()
    assert cool.shape_key(*INPUT) == hot.shape_key(*INPUT)


@given(points(SPACE))
def test_candidate_hash_ignores_ratios_that_round_to_the_same_width(point: Point) -> None:
    none, most = (with_choices(point, width=16, prune_0=ratio) for ratio in (0.0, 0.75))
    assert none.candidate_hash() == most.candidate_hash()


@given(points(SPACE))
def test_candidate_hash_tells_different_kept_widths_apart(point: Point) -> None:
    none, most = (with_choices(point, width=48, prune_2=ratio) for ratio in (0.0, 0.75))
    assert none.candidate_hash() != most.candidate_hash()
    assert none.shape_key(*INPUT) != most.shape_key(*INPUT)


@given(points(SPACE), st.sampled_from(["conv_3x3", "max_pool_3x3", "sep_conv_5x5"]))
def test_candidate_hash_ignores_unreachable_nodes(point: Point, operation: str) -> None:
    apart = {"concat": 2, "normal_2_inputs": "0-1", "normal_3_inputs": "0-1"}  # nodes 0 and 1 feed nothing
    skip = with_choices(point, **apart, normal_0_op_a="skip_connect", normal_1_op_b="skip_connect")
    other = with_choices(point, **apart, normal_0_op_a=operation, normal_1_op_b=operation)
    assert other.candidate_hash() == skip.candidate_hash()


@given(points(SPACE))
def test_shape_key_ignores_the_start_width_where_the_kept_widths_agree(point: Point) -> None:
    wide = with_choices(point, width=32, prune_0=0.5, prune_1=0.5, prune_2=0.5)
    narrow = with_choices(point, width=16, prune_0=0.0, prune_1=0.0, prune_2=0.0)
    assert wide.shape_key(*INPUT) == narrow.shape_key(*INPUT)
    assert wide.candidate_hash() != narrow.candidate_hash()


def test_space_counts_exactly() -> None:
    cell = 3 * 6 * 10 * 8**8
    assert SPACE.size() == cell**2 * 2 * 3 * 3 * 4**3 * 3**3 * 3 * 4 * 5 * 2


def test_space_survives_pickling() -> None:
    point = SPACE.sample(np.random.default_rng(0))
    copy = pickle.loads(pickle.dumps(SPACE))
    assert copy.decode(point) == SPACE.decode(point)


def test_space_orders_its_choices() -> None:
    space = study_space(space={"widths": [48, 16, 16]}, distillation={"alphas": [0.4, 1]})
    choices = {dimension.name: dimension.choices for dimension in space.dimensions}
    assert (choices["width"], choices["alpha"]) == ((16, 48), (1.0, 0.4))


def test_space_makes_dimensions_of_ranges_only() -> None:
    training = [dimension.name for dimension in SPACE.dimensions if dimension.group == "training"]
    assert training == ["learning_rate", "batch_size"]


def test_space_from_spec_narrows() -> None:
    space = study_space(space={"fix": {"concat": 4, "bits_*": "w8a8"}, "allow": {"prune_*": [0.0, 0.5]}})
    candidate = space.decode(space.sample(np.random.default_rng(0)))
    assert candidate.quantization.pairs() == ((8, 8),) * 3
    assert space.size() == SPACE.size() // 2 // 3**3 // 2**3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"space": {"widths": [16, 24]}}, "space.widths must be multiples of 16, .* but got 24"),
        ({"space": {"name": "resnets"}}, "space.name must be one of darts_cells, but got 'resnets'"),
        ({"space": {"fix": {"prune_9": 0.5}}}, "space.fix.prune_9 must be a dimension"),
        (
            {"search": {"enqueue": ["amoeba"]}},
            "search.enqueue must be one of darts_v1, darts_v2, residual, but got 'amoeba'",
        ),
        (
            {"space": {"fix": {"concat": 2}}, "search": {"enqueue": ["darts_v2"]}},
            "search.enqueue: darts_v2: .*concat must be one of .2., but got 4. Leave it out",
        ),
    ],
)
def test_space_from_spec_refuses(changes: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        space_from_spec(plain_spec(**changes), FORMATS)


def test_space_from_spec_names_every_fault_at_once() -> None:
    with pytest.raises(InputError) as caught:
        space_from_spec(plain_spec(space={"widths": [16, 24, 40], "name": "resnets"}), [])
    assert [fault.where for fault in caught.value.faults] == ["space.widths", "space.widths", "space.name", "target"]


def test_enqueued_points_decode_to_the_published_cells_uncompressed() -> None:
    (point,) = enqueued_points(SPACE, ["darts_v2"])
    candidate = SPACE.decode(point)
    assert (candidate.genotype.width, candidate.is_compressed()) == (48, False)
    assert candidate.genotype.normal.nodes[3][1].operation == "dil_conv_3x3"


def test_describe_space_finds_most_width_stage_pairs_prunable() -> None:
    facts = describe_space(SPACE, 16)
    shapes = {(entry.width, entry.stage): entry.kept_widths for entry in facts.shapes}
    assert shapes[16, 0] == (16,)
    assert shapes[48, 0] == (48, 32, 16)
    assert facts.prunable_share() == pytest.approx(8 / 9)
    assert facts.size == SPACE.size()


def test_enqueued_points_take_choices_of_other_dimensions() -> None:
    (point,) = enqueued_points(SPACE, [{"genotype": "residual", "width": 16, "prune_*": 0.5, "bits_*": "w8a8"}])
    candidate = SPACE.decode(point)
    assert candidate.genotype.width == 16
    assert candidate.quantization.pairs() == ((8, 8),) * 3
    assert candidate.pruning.kept_widths == (16, 16, 32)
    assert {edge.operation for node in candidate.genotype.normal.nodes for edge in node} == {
        "conv_3x3",
        "skip_connect",
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"width": 16}, "search.enqueue must be one of darts_v1, darts_v2, residual, but got None"),
        ({"genotype": "darts_v2", "width": 17}, "width must be one of .*, but got 17"),
        ({"genotype": "darts_v2", "colour": 1}, "colour must be a dimension of the space"),
    ],
)
def test_enqueued_points_name_what_does_not_lie_in_the_space(entry: dict[str, int | str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        enqueued_points(SPACE, [entry])
