import math

import numpy as np
import pytest
import torch

from automl.candidate import DistillationPlan
from automl.models.network import build_network
from automl.training import loop
from automl.training.distillation import distillation_loss
from automl.training.loop import DivergedError, Schedule, TrainingSet, train
from tests.models.architectures import GREY_TASK, candidate

NO_TEACHER = DistillationPlan(1.0, 1.0)


def two_halves(count: int = 128) -> TrainingSet:
    """Images whose bright half is their label."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    pixels = rng.integers(0, 6, (count, 8, 8)).astype(np.uint8)
    pixels[labels == 1, :, :4] += 8
    pixels[labels == 0, :, 4:] += 8
    return TrainingSet(pixels[None], labels.astype(np.int64), None)


def trained(data: TrainingSet, *, epochs: int = 2, plan: DistillationPlan = NO_TEACHER, seed: int = 0, **changes):
    torch.manual_seed(0)
    chosen = candidate(epochs=epochs, **changes)
    network = build_network(chosen, GREY_TASK, pruned=True)
    curve = train(network, data, chosen.training, plan, Schedule(epochs), phase="dense", seed=seed)
    return network, curve


def test_train_learns_a_plain_rule():
    data = two_halves()
    network, curve = trained(data, epochs=4)
    with torch.inference_mode():
        answers = network(torch.from_numpy(data.pixels[0])).argmax(dim=1).numpy()
    assert (answers == data.labels).mean() > 0.95
    assert [epoch.epoch for epoch in curve] == [0, 1, 2, 3]
    assert curve[-1].loss < 0.5 * curve[0].loss
    assert not network.training


def test_train_twice_gives_the_same_weights():
    first, second = (trained(two_halves())[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_train_continues_a_cosine_where_the_earlier_phase_left_off():
    chosen = candidate(epochs=4)
    network = build_network(chosen, GREY_TASK, pruned=True)
    phases = [
        train(network, two_halves(), chosen.training, NO_TEACHER, Schedule(4, *part), phase="x", seed=0)
        for part in ((0.0, 0.5), (0.5, 1.0))
    ]
    assert [[epoch.epoch for epoch in phase] for phase in phases] == [[0, 1], [2, 3]]
    assert phases[1][-1].learning_rate < phases[0][0].learning_rate


def test_train_with_no_seconds_left_makes_one_step():
    chosen = candidate()
    network = build_network(chosen, GREY_TASK, pruned=True)
    schedule = Schedule(50, seconds=1e-9)
    curve = train(network, two_halves(), chosen.training, NO_TEACHER, schedule, phase="dense", seed=0)
    assert len(curve) == 1


def test_train_raises_when_it_diverges():
    with pytest.raises(DivergedError, match=r"diverged in epoch \d"):
        trained(two_halves(), epochs=6, learning_rate=1e30)


def test_train_asks_between_steps():
    calls = []
    chosen = candidate(epochs=1)
    network = build_network(chosen, GREY_TASK, pruned=True)
    train(
        network, two_halves(), chosen.training, NO_TEACHER, Schedule(1), phase="dense", seed=0,
        between_steps=lambda: calls.append(1),
    )  # fmt: skip
    assert len(calls) == 2  # 128 images in batches of 64


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_distillation_loss_is_the_formula(temperature):
    logits, teacher = torch.randn(5, 3), torch.randn(5, 3)
    labels = torch.tensor([0, 1, 2, 0, 1])
    p, q = (torch.softmax(x / temperature, dim=1) for x in (teacher, logits))
    soft = (p * (p / q).log()).sum(dim=1).mean()
    hard = -torch.log_softmax(logits, dim=1)[range(5), labels].mean()
    expected = 0.3 * hard + 0.7 * temperature**2 * soft
    got = distillation_loss(logits, labels, teacher, DistillationPlan(0.3, temperature), 0.0)
    torch.testing.assert_close(got, expected)


def test_distillation_loss_without_weight_ignores_the_teacher():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    with_teacher = distillation_loss(logits, labels, torch.randn(5, 3), DistillationPlan(1.0, 4.0), 0.0)
    torch.testing.assert_close(with_teacher, distillation_loss(logits, labels, None, DistillationPlan(1.0, 1.0), 0.0))


@pytest.mark.parametrize("change", [DistillationPlan(0.5, 2.0), DistillationPlan(0.5, 4.0)])
def test_distillation_changes_the_trained_weights(change):
    data = two_halves()
    logits = np.random.default_rng(0).normal(size=(1, 128, 10)).astype(np.float32)
    taught = TrainingSet(data.pixels, data.labels, lambda view, indices: logits[view][indices])
    plain, other = (trained(taught, plan=plan)[0].state_dict() for plan in (DistillationPlan(0.5, 1.0), change))
    assert any(not torch.equal(plain[name], other[name]) for name in plain)


def test_curve_records_gradient_norms_and_rates():
    _, curve = trained(two_halves())
    assert all(math.isfinite(epoch.gradient_norm) and epoch.gradient_norm > 0 for epoch in curve)
    assert all(0 <= epoch.learning_rate <= 3e-3 for epoch in curve)


def test_after_step_may_change_the_weights_and_hears_the_progress():
    heard = []
    chosen = candidate(epochs=2)
    network = build_network(chosen, GREY_TASK, pruned=True)

    def clear(progress: float) -> None:
        heard.append(progress)
        network.classifier.weight.data[:, ::2] = 0.0

    train(
        network, two_halves(), chosen.training, NO_TEACHER, Schedule(2), phase="dense", seed=0, after_step=clear
    )  # fmt: skip
    assert heard == [0.25, 0.5, 0.75, 1.0]
    assert not network.classifier.weight[:, ::2].any()
    assert network.classifier.weight[:, 1::2].all()


class TokenCounter(torch.nn.Module):
    """Counts tokens and decides by them: no images, no norms, a factor from outside."""

    def __init__(self, factor: torch.nn.Parameter) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(5, 2)
        self.outside = [factor]  # in a list, so that it is no parameter of this module

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.embedding(tokens).mean(dim=1) * self.outside[0]


def test_train_takes_any_module_with_tokens_and_parameters_from_outside():
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (1, 128, 12))
    labels = ((tokens[0] == 1).sum(axis=1) > 2).astype(np.int64)
    factor = torch.nn.Parameter(torch.ones(1))
    network = TokenCounter(factor)
    chosen = candidate(epochs=6, learning_rate=0.1).training
    curve = train(
        network, TrainingSet(tokens, labels, None), chosen, NO_TEACHER, Schedule(6), phase="x", seed=0,
        extra_parameters=(factor,),
    )  # fmt: skip
    assert curve[-1].loss < 0.8 * curve[0].loss
    assert float(factor.detach()) != 1.0


@pytest.mark.parametrize("recalibrate", [True, False])
def test_recalibrate_sets_the_statistics_to_plain_means(recalibrate):
    chosen = candidate(epochs=1)
    network = build_network(chosen, GREY_TASK, pruned=True)
    train(
        network, two_halves(), chosen.training, NO_TEACHER, Schedule(1), phase="x", seed=0, recalibrate=recalibrate
    )  # fmt: skip
    norm = network.stem.norm
    seen = torch.from_numpy(two_halves().pixels[0]).float()[:, None]
    with torch.no_grad():
        mean = network.stem.convolution((seen - network.mean) / network.deviation).mean(dim=(0, 2, 3))
    assert torch.allclose(norm.running_mean, mean, atol=1e-4) is recalibrate
    assert norm.momentum == 0.1


@pytest.mark.parametrize(("epochs", "progress"), [(0.5, 0.05), (0.02, 0.1)])
def test_learning_rate_is_at_its_peak_after_half_an_epoch_or_a_tenth_of_the_training(epochs, progress):
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    assert loop._learning_rate(2.0, epochs, progress) == pytest.approx(2.0 * cosine)
    assert loop._learning_rate(2.0, epochs / 4, progress / 4) < 0.4 * 2.0
