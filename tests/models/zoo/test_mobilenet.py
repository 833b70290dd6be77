import pytest
import torch

from automl.models.zoo.mobilenet import MobileNetV2, mobilenet_v2, mobilenet_v2_half, rounded_width


def test_mobilenet_has_the_parameters_and_names_of_torchvisions_layout():
    network = mobilenet_v2(1000)
    state = network.state_dict()
    assert sum(value.numel() for value in network.parameters()) == 3_504_872
    assert state["features.0.0.weight"].shape == (32, 3, 3, 3)
    assert state["features.2.conv.1.0.weight"].shape == (96, 1, 3, 3)
    assert state["features.18.1.running_mean"].shape == (1280,)
    assert state["classifier.1.weight"].shape == (1000, 1280)


@pytest.mark.parametrize(("channels", "rounded"), [(16.0, 16), (12.0, 16), (11.0, 16), (24 * 0.35, 8), (3.0, 8)])
def test_rounded_width_is_a_multiple_of_eight(channels, rounded):
    assert rounded_width(channels) == rounded


def test_half_width_keeps_the_head():
    network = mobilenet_v2_half(10, 1, 28)
    assert network.features[0][0].out_channels == 16
    assert network.features[18][0].out_channels == 1280


@pytest.mark.parametrize(("image_size", "side"), [(32, 4), (64, 2)])
def test_mobilenet_keeps_the_resolution_of_small_images(image_size, side):
    network = MobileNetV2(multiplier=0.1, classes=3, channels=1, image_size=image_size).eval()
    assert network.features(torch.zeros(1, 1, image_size, image_size)).shape[2:] == (side, side)
