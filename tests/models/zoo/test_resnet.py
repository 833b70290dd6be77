import pytest
import torch

from automl.models.zoo.resnet import BasicBlock, ResNet, residual_student, residual_teacher, resnet18, resnet50


def parameters(module: torch.nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


@pytest.mark.parametrize(("factory", "count"), [(resnet18, 11_689_512), (resnet50, 25_557_032)])
def test_resnet_has_the_parameters_of_torchvisions_layout(factory, count):
    assert parameters(factory(1000)) == count


def test_resnet_has_torchvisions_names_and_shapes():
    state = resnet50(1000).state_dict()
    assert state["conv1.weight"].shape == (64, 3, 7, 7)
    assert state["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert state["layer4.2.bn3.running_var"].shape == (2048,)
    assert state["fc.weight"].shape == (1000, 2048)
    assert len(state) == 320


@pytest.mark.parametrize(("image_size", "kernel", "side"), [(63, 3, 63), (64, 7, 16)])
def test_resnet_keeps_the_resolution_of_small_images(image_size, kernel, side):
    network = ResNet(BasicBlock, (1,), width=4, classes=3, channels=1, image_size=image_size).eval()
    assert network.conv1.kernel_size == (kernel, kernel)
    stem = network.maxpool(network.conv1(torch.zeros(1, 1, image_size, image_size)))
    assert stem.shape[2:] == (side, side)


def test_teacher_is_much_larger_than_the_student():
    assert parameters(residual_teacher(10)) > 30 * parameters(residual_student(10))
    assert residual_student(10)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
