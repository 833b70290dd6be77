import numpy as np
import pytest
import torch
from torch.nn import functional

from automl.models.deployable import Chain
from automl.models.operations import OPERATIONS, ConvolutionNorm, depthwise_convolution, end_rectified, folded


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [8, 7])
def test_operation_keeps_channels_and_divides_the_side(name, stride, side):
    module = OPERATIONS[name](6, stride)
    out = module(torch.randn(2, 6, side, side))
    assert out.shape == (2, 6, -(-side // stride), -(-side // stride))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("shape", [(8, 8), (7, 9), (4, 4), (2, 2), (1, 1)])
def test_depthwise_convolution_equals_torch(kernel, stride, dilation, shape):
    x, weight = torch.randn(3, 4, *shape), torch.randn(4, 1, kernel, kernel)
    expected = functional.conv2d(x, weight, None, stride, dilation * (kernel // 2), dilation, 4)
    torch.testing.assert_close(depthwise_convolution(x, weight, stride, dilation), expected)


def test_folded_convolution_equals_convolution_and_norm():
    module = ConvolutionNorm(3, 5, 3)
    for _ in range(3):
        module(torch.randn(4, 3, 6, 6) * 2 + 1)
    module.eval()
    weight, bias = folded(module.convolution, module.norm)
    x = torch.randn(2, 3, 6, 6)
    expected = module(x).detach().numpy()
    got = functional.conv2d(x, weight, bias, padding=1).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_end_rectified_adds_the_relu_that_a_sum_would_have(name, stride):
    module, x = OPERATIONS[name](6, stride).eval(), torch.rand(2, 6, 8, 8)
    with torch.inference_mode():
        plain = module(x)
        end_rectified(module)
        torch.testing.assert_close(module(x), torch.relu(plain))


def test_layers_are_the_convolution_or_those_of_its_chain():
    module = ConvolutionNorm(3, 5, 1)
    assert module.layers() == [module.convolution]
    module.convolution = Chain(torch.nn.Conv2d(3, 2, 1), torch.nn.Conv2d(2, 5, 1))
    assert [layer.out_channels for layer in module.layers()] == [2, 5]
    assert module(torch.rand(1, 3, 4, 4)).shape == (1, 5, 4, 4)
