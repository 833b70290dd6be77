from __future__ import annotations

import pytest

from automl.errors import InputError
from automl.models.user.stages import check_stages, droppable_modules, find_stages, stage_ends, stage_of_steps
from automl.models.user.steps import read_steps
from automl.models.zoo.mobilenet import MobileNetV2
from automl.models.zoo.resnet import BasicBlock, Bottleneck, ResNet
from tests.models.user.user_networks import Gated

SHAPE = (3, 32, 32)


def residual(*depths: int, block=BasicBlock, side: int = 32):
    network = ResNet(block, depths, width=4, classes=5, channels=3, image_size=side)
    return read_steps(network, (3, side, side))


def test_find_stages_begins_one_where_the_resolution_falls():
    steps = residual(2, 2, 1)
    assert find_stages(steps) == ("conv1", "layer2", "layer3")
    assert stage_ends(steps, stage_of_steps(steps, find_stages(steps)), 3) == ("layer1", "layer2", "layer3")


def test_find_stages_joins_a_lone_stem_to_what_follows():
    assert find_stages(residual(1, 1, 1, 1, block=Bottleneck, side=64)) == ("conv1", "layer2", "layer3", "layer4")


def test_find_stages_goes_back_to_the_beginning_of_the_block():
    steps = read_steps(MobileNetV2(multiplier=0.1, classes=3, channels=3, image_size=32), SHAPE)
    assert find_stages(steps) == ("features", "features.4", "features.7", "features.14")


@pytest.mark.parametrize(("depths", "count"), [((1, 1, 1, 1, 1), 5), ((1, 1, 1, 1, 1, 1), 5), ((4,), 3)])
def test_find_stages_finds_three_to_five(depths, count):
    steps = residual(*depths, side=63)
    stages = stage_of_steps(steps, find_stages(steps))
    assert sorted(set(stages.values())) == list(range(count))


def test_find_stages_does_not_take_a_gate_for_a_stage():
    steps = read_steps(Gated(), SHAPE)
    assert "squeeze" not in find_stages(steps)


def test_stages_that_are_given_begin_with_their_modules():
    steps = residual(2, 2)
    stages = stage_of_steps(steps, ("conv1", "layer1.1", "layer2"))
    assert (stages["conv1"], stages["layer1_0_conv1"], stages["layer1_1_conv1"], stages["fc"]) == (0, 0, 1, 2)


@pytest.mark.parametrize(
    ("starts", "got"),
    [
        (("conv1", "layer9"), r"modules with layers, such as conv1, layer1, layer2, .* but got 'layer9'"),
        (("conv1", "layer2", "layer1"), r"in the order .* but got 'layer1' after 'layer2'"),
        ((), "at least one module"),
    ],
)
def test_check_stages_refuses_what_is_no_stage(starts, got):
    with pytest.raises(InputError, match=got):
        check_stages(residual(2, 2), starts)


def test_droppable_modules_are_the_blocks_around_an_identity():
    assert droppable_modules(residual(2, 3)) == ("layer1.0", "layer1.1", "layer2.1", "layer2.2")
    inverted = read_steps(MobileNetV2(multiplier=0.1, classes=3, channels=3, image_size=32), SHAPE)
    found = droppable_modules(inverted)
    assert {"features.3", "features.5"} <= set(found) and not {"features.4", "features.7", "features.18"} & set(found)
    assert droppable_modules(read_steps(Gated(), SHAPE)) == ()
