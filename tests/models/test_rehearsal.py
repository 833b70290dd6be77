import numpy as np
import pytest
import torch

from automl.candidate import QuantizationPlan
from automl.compression.quantization import calibrate
from automl.errors import InputError
from automl.models.deployable import Emitted
from automl.models.number_formats import Codes
from automl.models.rehearsal import Rehearsal, Steps, steps_of
from automl.models.writer import Tensor
from tests.models.test_network_file import images, network_for, session_of
from tests.models.written_network import WrittenNetwork

FLOAT = QuantizationPlan((32,) * 3, (32,) * 3)
PAIRS = [[(8, 8)] * 3, [(4, 8)] * 3, [(8, 8), (32, 32), (4, 32)], [(32, 32), (8, 8), (16, 32)]]


def plan_for(pairs: list[tuple[int, int]], **others: str) -> QuantizationPlan:
    weights, activations = zip(*pairs, strict=True)
    return QuantizationPlan(weights, activations, **others)  # type: ignore[arg-type]


def rehearsed(network: Emitted, codes: Codes, plan: QuantizationPlan, pixels: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        rehearsal = Rehearsal(steps_of(codes), 64, plan)
        logits: torch.Tensor = network.emit(rehearsal, torch.from_numpy(pixels), plan.pairs(), len(pixels))
    return logits.numpy()


def served(network: Emitted, codes: Codes | None, plan: QuantizationPlan, pixels: np.ndarray) -> np.ndarray:
    content = network.write(plan, codes=codes, largest_code=64, batch=len(pixels))
    return np.asarray(session_of(content).run(None, {"pixels": pixels})[0])


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize(("kind", "scales"), [("cells", "channel"), ("written", "channel"), ("written", "tensor")])
def test_rehearsal_computes_what_the_file_answers(kind, scales, pairs):
    network = network_for((9, 11, 3)) if kind == "cells" else WrittenNetwork()
    pixels, plan = images(network.task.input_shape, 64), plan_for(pairs, scales=scales)
    codes = calibrate(network, pixels, plan)
    answers = served(network, codes, plan, pixels)
    miss = np.abs(rehearsed(network, codes, plan, pixels) - answers).max()
    lost = np.abs(served(network, None, FLOAT, pixels) - answers).max()
    assert miss < 0.6 * lost  # values on the edge of two codes, against what the codes lose


@pytest.mark.parametrize("weights", ["codebook", "power_of_two"])
def test_rehearsal_looks_stored_weights_up_as_the_file_does(weights):
    network, pixels = WrittenNetwork(), images((8, 8, 3), 32)
    plan = plan_for([(4, 32)] * 3, weights=weights)
    answers = served(network, None, plan, pixels)
    np.testing.assert_allclose(rehearsed(network, Codes({}), plan, pixels), answers, atol=1e-5)


def test_rehearsal_takes_learned_weight_scales_as_the_file_does():
    network, pixels, plan = WrittenNetwork(), images((8, 8, 3), 64), plan_for([(4, 8)] * 3)
    ranges = calibrate(network, pixels, plan).ranges
    coarse = Codes(ranges, {"stem": np.full(16, 0.4, np.float32), "hidden": np.full(24, 0.1, np.float32)})
    answers = served(network, coarse, plan, pixels)
    assert np.abs(answers - served(network, Codes(ranges), plan, pixels)).max() > 1e-3
    np.testing.assert_allclose(rehearsed(network, coarse, plan, pixels), answers, atol=1e-3)


@pytest.mark.parametrize("pairs", PAIRS)
def test_rehearsal_sends_gradients_to_every_parameter(pairs):
    network, pixels, plan = WrittenNetwork(), images((8, 8, 3), 32), plan_for(pairs)
    codes = calibrate(network, pixels, plan)
    rehearsal = Rehearsal(steps_of(codes), 64, plan)
    network.emit(rehearsal, torch.from_numpy(pixels), plan.pairs(), 32).pow(2).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())


def test_rehearsal_refuses_a_plan_that_no_file_can_hold():
    with pytest.raises(InputError, match="evenly spaced"):
        Rehearsal(steps_of(Codes({})), 64, plan_for([(8, 8)] * 3, weights="codebook"))


def test_convolution_that_torch_breaks_in_channels_last_is_computed_contiguously(monkeypatch):
    layouts = []
    plain = torch.nn.functional.conv2d

    def watched(values, *arguments):
        layouts.append(values.is_contiguous())
        return plain(values, *arguments)

    monkeypatch.setattr("automl.models.rehearsal.functional.conv2d", watched)
    plan = QuantizationPlan((32,), (32,))
    rehearsal = Rehearsal(Steps({}), 64, plan)
    values = torch.randn(2, 5, 8, 8).contiguous(memory_format=torch.channels_last)
    x = Tensor(values, "x", "x", rectified=False)
    rehearsal.convolution(x, torch.randn(6, 5, 1, 1), None, "y", stride=(2, 2))
    rehearsal.convolution(x, torch.randn(6, 5, 1, 1), None, "z")
    assert layouts == [True, False]
