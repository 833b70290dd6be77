import numpy as np
import pytest
import torch
from torch.nn import functional

from automl.models.operations import OPERATIONS, ConvolutionNorm, depthwise_convolution, folded


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
