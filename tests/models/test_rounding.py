import pytest
import torch

from automl.models.rounding import rounded, straight_through


def test_rounded_gives_the_values_of_the_codes_and_clips_to_the_last_one():
    x = torch.tensor([-1.0, 0.24, 0.26, 99.0])
    assert rounded(x, torch.tensor(0.5), 1, 0, 255).tolist() == [-0.5, 0.0, 0.5, 99.0]
    assert rounded(x, torch.tensor(0.5), 1, 0, 7).tolist() == [-0.5, 0.0, 0.5, 3.0]


def test_rounded_passes_the_gradient_except_where_the_code_saturates():
    x = torch.tensor([-9.0, 0.3, 9.0], requires_grad=True)
    rounded(x, torch.tensor(0.5), 0, -7, 7).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(("value", "slope"), [(0.3, 1 - 0.6), (9.0, 7.0), (-9.0, -7.0)])
def test_rounded_gives_the_scale_the_gradient_of_lsq(value, slope):
    scale = torch.tensor(0.5, requires_grad=True)
    rounded(torch.tensor([value]), scale, 0, -7, 7, share=0.1).sum().backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(0.1 * slope, rel=1e-5)


def test_rounded_gives_each_channel_the_gradient_of_its_own_scale():
    scale = torch.tensor([[0.5], [0.5]], requires_grad=True)
    rounded(torch.tensor([[9.0, 9.0], [0.5, 0.5]]), scale, 0, -7, 7).sum().backward()
    assert scale.grad is not None
    assert scale.grad.tolist() == [[14.0], [0.0]]


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    x = torch.tensor(2.0, requires_grad=True)
    y = straight_through(x, torch.tensor(5.0))
    y.backward()
    assert (y.item(), x.grad.item()) == (5.0, 1.0)  # type: ignore[union-attr]
