import copy
from functools import cache

import numpy as np
import pytest
import torch

from automl.candidate import DistillationPlan, QuantizationPlan, TrainingPlan
from automl.compression.aware import AwareNetwork
from automl.compression.quantization import calibrate
from automl.errors import InputError
from automl.models.deployable import Task
from automl.models.network import Network, build_network
from automl.models.number_formats import Codes
from automl.training.loop import Schedule, TrainingSet, train
from tests.models.architectures import candidate
from tests.models.test_network_file import images, optimized_graph, session_of
from tests.models.written_network import WrittenNetwork

OPERATIONS = (
    "conv_3x3", "skip_connect", "dil_conv_3x3", "max_pool_3x3", "skip_connect", "skip_connect", "avg_pool_3x3",
    "conv_3x3",
)  # fmt: skip
TASK = Task((8, 8), 10, (5.0,), (6.0,))
TRAINED = 1100  # of the 1,797 digits; the others are for validation
METHODS = ("qat", "lsq")


def plan(training: str, bits: tuple[int, int] = (4, 8), scales: str = "tensor") -> QuantizationPlan:
    return QuantizationPlan((bits[0],) * 3, (bits[1],) * 3, scales=scales, training=training)


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    return bunch.images.astype(np.uint8)[order], bunch.target.astype(np.int64)[order]


def taught(network: torch.nn.Module, epochs: int, rate: float, *, recalibrate: bool) -> None:
    pixels, labels = digits()
    data = TrainingSet(pixels[None, :TRAINED], labels[:TRAINED], None)
    training = TrainingPlan("adamw", rate, 0.0, 64, epochs, 0.0, 0.0, 5.0)
    train(
        network, data, training, DistillationPlan(1.0, 1.0), Schedule(epochs), phase="test", seed=0,
        recalibrate=recalibrate,
    )  # fmt: skip


@cache
def float_network() -> Network:
    """Return a trained network whose stem's channels differ in scale by up to 16, with the next layers' undoing it.

    Its answers are those of the network before (ReLU passes a positive factor), but one scale a tensor and four bits
    lose most of it: what quantization-aware training is for (Nagel et al., 2019).
    """
    torch.manual_seed(0)
    chosen = candidate(kept=(8, 8, 16), width=8, cells=2, operations=OPERATIONS)
    network = build_network(chosen, TASK, pruned=True)
    taught(network, 3, 1e-2, recalibrate=True)
    factor = torch.exp2(torch.linspace(-2, 2, 8))
    state = network.state_dict()
    for name in ("stem.norm.weight", "stem.norm.bias"):
        state[name].mul_(factor)
    for reader in ("cells.0.before_last", "cells.0.last", "cells.1.before_last"):
        weight = next(state[name] for name in state if name.startswith(reader) and state[name].ndim == 4)
        weight.div_(factor[None, :, None, None])
    return network


@cache
def trained_aware(training: str) -> AwareNetwork:
    network = copy.deepcopy(float_network())
    codes = calibrate(network, digits()[0][:128], plan(training))
    aware = AwareNetwork(network, codes, plan(training), 64)
    taught(aware, 3, 4e-3, recalibrate=False)
    return aware


def answers(network: Network, codes: Codes | None, chosen: QuantizationPlan) -> np.ndarray:
    pixels = digits()[0][TRAINED:]
    content = network.write(chosen, codes=codes, largest_code=64, batch=len(pixels))
    return np.asarray(session_of(content).run(None, {"pixels": pixels})[0].argmax(axis=1))


def aware_answers(training: str) -> np.ndarray:
    aware = trained_aware(training)
    assert isinstance(aware.network, Network)
    return answers(aware.network, aware.codes(), plan(training))


@pytest.mark.parametrize("training", METHODS)
def test_aware_network_agrees_with_its_file_on_99_of_100_answers(training):
    """Hold the issue's 99 % on 697 images; with seeds 0 to 3 at eight settings the least was 99.66 %."""
    aware, pixels = trained_aware(training), torch.from_numpy(digits()[0][TRAINED:])
    with torch.no_grad():
        rehearsed = aware(pixels).argmax(dim=1).numpy()
    assert (rehearsed == aware_answers(training)).mean() >= 0.99


@pytest.mark.parametrize("training", METHODS)
def test_aware_training_repairs_what_four_bits_broke(training):
    """Hold a gain of ten points; over four seeds the least was 17."""
    labels, before = digits()[1][TRAINED:], float_network()
    codes = calibrate(before, digits()[0][:128], plan("none"))
    broken = (answers(before, codes, plan("none")) == labels).mean()
    assert (aware_answers(training) == labels).mean() > broken + 0.1


def test_learned_step_sizes_move_and_fixed_ones_do_not():
    given = calibrate(float_network(), digits()[0][:128], plan("none"))
    assert trained_aware("qat").codes().ranges == given.ranges
    learned = trained_aware("lsq").codes()
    assert abs(learned.ranges["stem"].high / given.ranges["stem"].high - 1) > 0.01
    assert learned.weight_scales["stem"].shape == ()


def test_learned_codes_are_exactly_those_that_the_file_is_written_with():
    aware = trained_aware("lsq")
    fixed = AwareNetwork(aware.network, aware.codes(), plan("qat"), 64)
    pixels = torch.from_numpy(digits()[0][TRAINED:][:64])
    with torch.no_grad():
        torch.testing.assert_close(aware(pixels), fixed(pixels), atol=0.0, rtol=0.0)


@pytest.mark.parametrize("training", METHODS)
def test_aware_file_has_the_graph_of_the_nominal_one(training, tmp_path):
    aware = trained_aware(training)
    files = [aware.network.write(plan(training), codes=c, largest_code=64, batch=1) for c in (None, aware.codes())]
    graphs = [optimized_graph(content, str(tmp_path / f"{i}.onnx")) for i, content in enumerate(files)]
    assert graphs[0] == graphs[1]


def test_aware_training_leaves_the_statistics_of_norms_alone():
    before, after = float_network().state_dict(), trained_aware("qat").network.state_dict()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved
    assert not [name for name in moved if "running" in name or "num_batches" in name]


@pytest.mark.parametrize("bits", [(8, 8), (4, 8)])
@pytest.mark.parametrize("scales", ["channel", "tensor"])
def test_learned_step_sizes_start_as_the_calibrated_file(bits, scales):
    network, pixels = WrittenNetwork(), images((8, 8, 3), 64)
    codes = calibrate(network, pixels, plan("none", bits, scales))
    first, second = (AwareNetwork(network, codes, plan(kind, bits, scales), 64) for kind in METHODS)
    with torch.no_grad():
        outputs = [aware(torch.from_numpy(pixels[:32])) for aware in (first, second)]
    assert (outputs[0] - outputs[1]).abs().max() < 0.05 * outputs[0].abs().max()


def test_learned_step_sizes_never_leave_the_convolution_before_a_relu6_in_floating_point(tmp_path):
    network, pixels, chosen = WrittenNetwork(), images((8, 8, 3), 64), plan("lsq", (8, 8))
    aware = AwareNetwork(network, calibrate(network, pixels, chosen), chosen, 64)
    with torch.no_grad():
        for scale in aware.log_activation_scales:
            scale.add_(0.5)
    content = network.write(chosen, codes=aware.codes(), largest_code=64, batch=1)
    kinds = {kind for kind, _, _ in optimized_graph(content, str(tmp_path / "learned.onnx"))}
    assert not {"Conv", "FusedConv", "Clip"} & kinds


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (plan("none"), r"training must be one of \('qat', 'lsq'\)"),
        (plan("qat", (4, 32)), "nothing is rounded while it trains"),
    ],
)
def test_aware_network_refuses_a_plan_that_trains_nothing(chosen, message):
    with pytest.raises(InputError, match=message):
        AwareNetwork(WrittenNetwork(), Codes({}), chosen, 64)
