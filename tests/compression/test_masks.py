import pytest
import torch
from torch.nn import functional

from automl.candidate import DistillationPlan, TrainingPlan
from automl.compression.masks import sparsify
from automl.training.loop import Schedule, TrainingSet, train
from tests.compression.small_networks import Perceptron, cell_network, pixels


def zeros_of(network):
    return {name: (value == 0).clone() for name, value in network.named_parameters() if value.ndim > 1}


def test_unstructured_masks_zero_exactly_the_share_of_all_weights_and_nothing_else():
    network = cell_network()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    masks = sparsify(network, 0.8)
    weights = [value for value in network.parameters() if value.ndim > 1]
    count = sum(value.numel() for value in weights)
    assert sum(int((value == 0).sum()) for value in weights) == round(0.8 * count)
    assert masks.sparsity() == pytest.approx(0.8, abs=1 / count)
    for name, value in network.named_parameters():
        assert torch.equal(value[value != 0], before[name][value != 0])
        assert value.ndim > 1 or torch.equal(value, before[name])


def test_unstructured_masks_take_the_smallest_weights_of_a_layer():
    network = cell_network()
    before = network.stem.convolution.weight.detach().abs().clone()
    kept = sparsify(network, 0.9).kept["stem.convolution.weight"]
    assert 0 < kept.sum() < kept.numel()
    assert before[kept].min() >= before[~kept].max()


def test_unstructured_masks_do_not_depend_on_how_a_layer_is_scaled():
    network, scaled = cell_network(), cell_network()
    with torch.no_grad():
        scaled.stem.convolution.weight *= 0.125
    first, second = (sparsify(one, 0.7).kept for one in (network, scaled))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_layer_keeps_a_weight():
    kept = sparsify(cell_network(), 0.99).kept
    assert all(mask.any() for mask in kept.values())


def test_two_of_four_neighbours_along_the_input_axis_stay():
    network = cell_network()
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    masks = sparsify(network, 0.5, "2:4")
    assert "cells.0.last.convolution.weight" in masks.kept
    assert masks.sparsity() == 0.5
    for name in masks.kept:
        after = dict(network.named_parameters())[name]
        old, new = (value.detach().movedim(1, -1).reshape(-1, 4) for value in (before[name], after))
        assert ((new != 0).sum(dim=1) == 2).all()
        assert torch.allclose(new.abs().sum(dim=1), old.abs().topk(2, dim=1).values.sum(dim=1))


def test_layers_without_four_inputs_stay_dense_under_2_4():
    network = cell_network()
    assert not {name for name in sparsify(network, 0.5, "2:4").kept if "depthwise" in name or name.startswith("stem")}
    assert (network.stem.convolution.weight != 0).all()


@pytest.mark.parametrize(("sparsity", "pattern"), [(0.8, "unstructured"), (0.5, "2:4")])
def test_zeros_stay_zero_over_a_hundred_steps_and_not_without_the_masks(sparsity, pattern):
    network = Perceptron().train()
    masks, images = sparsify(network, sparsity, pattern), pixels(16)
    zeros = zeros_of(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, betas=(0.9, 0.999), weight_decay=0.1)
    for step in range(101):
        optimizer.zero_grad()
        functional.cross_entropy(network(images), torch.arange(16) % 10).backward()
        optimizer.step()
        if step < 100:
            masks.apply()
            assert all(torch.equal(zeros_of(network)[name], zeros[name]) for name in zeros)
    assert not any(torch.equal(zeros_of(network)[name], zeros[name]) for name in zeros)


def small_cells():
    return cell_network(operations=("conv_3x3", "skip_connect") * 2)


@pytest.mark.parametrize(("optimizer", "build"), [("adamw", small_cells), ("sgd", Perceptron)])
def test_zeros_stay_zero_over_a_hundred_steps_of_the_training_loop(optimizer, build):
    network, applied = build(), []
    masks = sparsify(network, 0.8)
    zeros = zeros_of(network)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}

    def keep_zeros(progress):
        applied.append(progress)
        masks.apply(progress)

    data = TrainingSet(pixels(32).numpy()[None], (torch.arange(32) % 10).numpy(), None)
    plan = TrainingPlan(optimizer, 3e-3, 0.05, 4, 13, 0.0, 0.0, 5.0)
    train(network, data, plan, DistillationPlan(1.0, 1.0), Schedule(13), phase="sparse", seed=0, after_step=keep_zeros)
    assert len(applied) == 104
    assert all(torch.equal(zeros_of(network)[name], zeros[name]) for name in zeros)
    assert all(not torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_a_sparsity_of_zero_changes_nothing():
    network = Perceptron()
    before = network.first.weight.detach().clone()
    assert sparsify(network, 0.0).sparsity() == sparsify(network, 0.0, "2:4").sparsity() == 0.0
    assert torch.equal(network.first.weight, before)


@pytest.mark.parametrize(
    ("sparsity", "pattern", "message"),
    [
        (1.0, "unstructured", "at least 0 and below 1, but got 1"),
        (-0.1, "unstructured", "at least 0 and below 1, but got -0.1"),
        (0.8, "2:4", "2:4 must have a sparsity of 0.5, but got 0.8"),
        (0.5, "1:4", "the pattern must be one of unstructured, 2:4, but got '1:4'"),
    ],
)
def test_impossible_sparsities_are_refused(sparsity, pattern, message):
    with pytest.raises(ValueError, match=message):
        sparsify(Perceptron(), sparsity, pattern)
