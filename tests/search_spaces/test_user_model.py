from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from automl.candidate import UserModel, candidate_from_json, candidate_to_json
from automl.combinations import TargetFacts
from automl.errors import InputError
from automl.space import SearchSpace
from search_spaces.user_model import queued_points, user_model_space, user_space_from_spec

MODEL = UserModel("net", "0123456789abcdef", ("stem", "a", "b", "heads"), (16, 64, 40, 12), (0, 1, 1, 3), 4)
TRAINING = {
    "learning_rate": (1e-3, 2e-3), "weight_decay": (0.0,), "dropout": (0.0,), "label_smoothing": (0.0,),
    "clip_norm": (5.0,), "batch_size": (32,), "epochs": (2,),
}  # fmt: skip


def space(**changes: object) -> SearchSpace:
    arguments = {
        "ratios": (0.5, 0.0, 0.25), "formats": ((32, 32), (8, 8)), "channel_multiple": 8, "alphas": (1.0, 0.5),
        "temperatures": (4.0,), "training": TRAINING, "optimizer": "adamw", **changes,
    }  # fmt: skip
    return user_model_space(MODEL, **arguments)


def chosen(found: SearchSpace, **choices: object):
    return found.decode(queued_points(found, [choices])[0])


def test_space_has_a_ratio_for_each_stage_with_groups_and_bits_for_every_stage():
    assert space().names() == (
        "prune_0", "prune_1", "prune_3", "bits_0", "bits_1", "bits_2", "bits_3", "alpha", "temperature",
        "learning_rate",
    )  # fmt: skip
    assert space().size() == 3**3 * 2**4 * 2 * 1 * 2


def test_stage_ratio_goes_to_all_its_groups_in_the_channel_multiple():
    assert chosen(space(), prune_1=0.5).pruning.kept_widths == (16, 32, 24, 12)
    assert chosen(space(), **{"prune_*": 0.5}).pruning.kept_widths == (8, 32, 24, 8)


def test_group_that_is_narrower_than_the_multiple_stays_whole():
    assert chosen(space(channel_multiple=16), prune_3=0.5).pruning.kept_widths[3] == 12


def test_group_multiples_count_heads_instead_of_channels():
    found = space(channel_multiple=16, group_multiples={"heads": 1})
    assert chosen(found, prune_3=0.25).pruning.kept_widths[3] == 9


def test_ratios_can_be_chosen_by_group():
    found = space(by="group")
    assert found.names()[:4] == ("prune_stem", "prune_a", "prune_b", "prune_heads")
    assert chosen(found, prune_b=0.25).pruning.kept_widths == (16, 64, 32, 12)


def test_bits_are_chosen_by_stage():
    plan = chosen(space(), bits_2="w8a8").quantization
    assert plan.pairs() == ((32, 32), (32, 32), (8, 8), (32, 32))


def test_extra_dimensions_are_joined_and_decoded():
    found = space(settings={"criterion": ("l1", "bn_scale"), "drop": ("", "layer1.1"), "schedule": ("one_shot",)})
    assert found.names()[-2:] == ("criterion", "drop")
    pruning = chosen(found, criterion="bn_scale", drop="layer1.1", prune_0=0.5).pruning
    assert (pruning.criterion, pruning.dropped) == ("bn_scale", ("layer1.1",))


def test_combinations_that_the_target_lacks_become_legal():
    found = space(facts=TargetFacts(frozenset({("onnxruntime", 32, 32)})))
    plain = found.choices(queued_points(found, ["uncompressed"])[0])
    point = found.point({**plain, **{f"bits_{stage}": "w8a8" for stage in range(4)}})
    assert found.decode(point).quantization.pairs() == ((32, 32),) * 4
    with pytest.raises(InputError, match="no kernel for these bits"):
        queued_points(found, [{"bits_*": "w8a8"}])


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_every_point_decodes_to_a_canonical_candidate_that_survives_json(seed: int):
    found = space()
    candidate = found.decode(found.sample(np.random.default_rng(seed)))
    assert candidate == candidate.canonical() == candidate_from_json(candidate_to_json(candidate))
    assert all(1 <= kept <= full for kept, full in zip(candidate.pruning.kept_widths, MODEL.widths, strict=True))


def test_space_can_be_sent_to_another_process():
    found = pickle.loads(pickle.dumps(space()))
    point = found.sample(np.random.default_rng(0))
    assert found.decode(point) == space().decode(point)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ratios": (0.0, 1.0)}, r"pruning.ratios must be at least 0 and below 1, but got 1. Use pruning.drop"),
        ({"ratios": (-0.5,)}, r"pruning.ratios .* but got -0.5"),
        ({"ratios": ()}, r"at least one ratio"),
        ({"formats": ((3, 3),)}, r"target must be able to execute a pair"),
        ({"by": "layer"}, r"stage or group, but got 'layer'"),
    ],
)
def test_space_refuses_what_makes_no_network(changes, message):
    with pytest.raises(InputError, match=message):
        space(**changes)


def test_queued_points_are_plain_where_nothing_is_said():
    plain = space().decode(queued_points(space(), ["uncompressed"])[0])
    assert not plain.is_compressed() and plain.distillation.alpha == 1.0
    assert plain.training.learning_rate == 2e-3


@pytest.mark.parametrize(
    ("entry", "message"),
    [("darts_v2", "uncompressed, or choices"), ({"prune_0": 0.3}, "prune_0 must be one of"), ({"x": 1}, "x must be")],
)
def test_queued_points_refuse_what_is_not_in_the_space(entry, message):
    with pytest.raises(InputError, match=rf"search.enqueue.*{message}"):
        queued_points(space(), [entry])


def study(**changes: object) -> dict[str, object]:
    return {
        "pruning": {"ratios": [0.0, 0.5], "criteria": ["l1"]}, "target": {"channel_multiple": 8},
        "distillation": {"alphas": [1.0], "temperatures": [1.0]}, "search": {"enqueue": ["uncompressed"]},
        "training": {**{key: list(value) for key, value in TRAINING.items()}, "optimizer": "sgd"},
        "space": {"fix": {}, "allow": {}}, **changes,
    }  # fmt: skip


def test_space_from_spec_is_narrowed():
    spec = study(space={"fix": {"prune_0": 0.5}, "allow": {}})
    with pytest.raises(InputError, match=r"search.enqueue: uncompressed must be in the space"):
        user_space_from_spec(spec, MODEL, [(32, 32)])
    spec["search"] = {"enqueue": [{"prune_*": 0.5}]}
    found = user_space_from_spec(spec, MODEL, [(32, 32), (8, 8)])
    assert found.size() == 2 * 2 * 2**4 * 2
    assert found.decode(found.sample(np.random.default_rng(1))).training.optimizer == "sgd"


def test_user_space_refuses_a_method_that_no_candidate_can_use():
    with pytest.raises(InputError, match="dynamic kernels for linear and recurrent layers only"):
        user_space_from_spec(study(quantization={"activations": ["dynamic"]}), MODEL, [(32, 32), (8, 8)])
