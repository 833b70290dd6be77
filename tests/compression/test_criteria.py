import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from automl.compression import criteria, learned_gates
from automl.compression.criteria import CRITERIA, NEEDS_EVIDENCE, channel_importance
from automl.compression.gates import by_channel, gated_loss, mean_loss, open_gates
from automl.models.deployable import Axis
from tests.compression.small_networks import Perceptron, cell_network, evidence, pixels


def stem_scores(network, criterion, **arguments):
    return channel_importance(network, network.group_widths(), criterion, **arguments)["stem"]


def unread(network, group, channels):
    """Let nothing read these channels of the group, and make the filters that produce them the largest of all."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for axis in network.coupled_axes():
            if axis.group == group and axis.axis == 1:
                parameters[axis.parameter][:, channels] = 0
            elif axis.group == group and axis.parameter in parameters and parameters[axis.parameter].ndim > 1:
                parameters[axis.parameter][channels] *= 10
    return network


@pytest.mark.parametrize(("criterion", "least"), [("l1", 1), ("l2", 0)])
def test_norms_find_the_filter_that_is_small_in_their_own_sense(criterion, least):
    network = cell_network()
    with torch.no_grad():
        network.stem.convolution.weight[:] = 2.0
        network.stem.convolution.weight[0] = 0.5  # l1 4.5, l2 1.5
        network.stem.convolution.weight[1] = torch.tensor([3.0] + [0.0] * 8).view(1, 3, 3)  # l1 3, l2 3
    assert stem_scores(network, criterion).argmin() == least


def test_norms_sum_over_the_whole_group():
    network = cell_network()
    before = channel_importance(network, {})["cells.0"]
    with torch.no_grad():
        for axis in network.coupled_axes():
            if axis.group == "cells.0" and axis.axis == 0 and axis.parameter.endswith("weight"):
                dict(network.named_parameters())[axis.parameter][3] *= 0.01
    after = channel_importance(network, {})["cells.0"]
    assert after.argmin() == 3
    assert after[3] < 0.2 * before[3]


def test_bn_scale_finds_the_smallest_scale_of_either_sign_whatever_the_filters():
    network = cell_network()
    with torch.no_grad():
        network.stem.convolution.weight[5] *= 100
        network.stem.norm.weight[2] = -2.0
        network.stem.norm.weight[5] = 0.01
    assert stem_scores(network, "bn_scale").argmin() == 5
    assert stem_scores(network, "l1").argmax() == 5
    assert stem_scores(network, "bn_scale").argmax() == 2


def test_geometric_median_finds_the_filter_that_the_others_can_replace():
    network = cell_network()
    with torch.no_grad():
        weight = network.stem.convolution.weight
        weight += 5.0  # far from zero: what is small is not what is redundant
        weight[2] = weight[[0, 1, 3, 4, 5, 6, 7]].mean(dim=0)
        weight[6] *= 0.1
    assert stem_scores(network, "geometric_median").argmin() == 2
    assert stem_scores(network, "l1").argmin() == 6


def test_taylor_is_the_squared_slope_of_the_loss_along_each_gate():
    network = cell_network().double()
    sample = evidence(network, 64)
    scores, step = stem_scores(network, "taylor", evidence=sample), 1e-6
    for channel in range(8):
        losses = []
        for sign in (1, -1):
            gates = open_gates(network)
            gates["stem"][channel] += sign * step
            losses.append(float(gated_loss(network, gates, sample.pixels, sample.labels)))
        slope = (losses[0] - losses[1]) / (2 * step)
        assert scores[channel].item() == pytest.approx(slope**2, rel=1e-2, abs=1e-12)


@pytest.mark.parametrize("criterion", ["taylor", "sensitivity", "learned"])
def test_measured_criteria_find_what_nothing_reads_however_large_its_filters_are(criterion):
    network = unread(Perceptron(), "hidden", [1, 4, 6])
    widths = {"hidden": 5}
    scores = channel_importance(network, widths, criterion, evidence(network))["hidden"]
    scores = scores.abs() if criterion == "sensitivity" else scores  # some channels are better gone
    norms = channel_importance(network, widths, "l1")["hidden"]
    assert sorted(scores.argsort()[:3].tolist()) == sorted(norms.argsort()[5:].tolist()) == [1, 4, 6]


def test_taylor_sees_every_reader_of_a_group():
    network = unread(cell_network(), "stem", [1, 4, 6])
    assert sorted(stem_scores(network, "taylor", evidence=evidence(network, 64)).argsort()[:3].tolist()) == [1, 4, 6]


def test_sensitivity_is_the_loss_without_the_channel_less_the_loss_with_it():
    """The channel is taken out where it is produced, the other way round from the gates where it is read."""
    network = cell_network(operations=("conv_3x3", "skip_connect") * 2)
    sample = evidence(network, 32)
    scores = stem_scores(network, "sensitivity", evidence=sample)
    images, labels = torch.from_numpy(sample.pixels), torch.from_numpy(sample.labels)
    with torch.inference_mode():
        whole = functional.cross_entropy(network(images), labels)
        for channel in range(8):
            silent = copy.deepcopy(network)
            silent.stem.norm.weight[channel] = silent.stem.norm.bias[channel] = 0
            change = functional.cross_entropy(silent(images), labels) - whole
            assert scores[channel].item() == pytest.approx(float(change), abs=1e-4)


def test_sensitivity_measures_wide_groups_in_a_bounded_number_of_blocks():
    network = Perceptron(hidden=40)
    scores = channel_importance(network, {}, "sensitivity", evidence(network, 64))["hidden"]
    assert len(scores) == 40
    assert len(scores.unique()) == criteria.SENSITIVITY_BLOCKS


def test_learned_mask_is_the_one_of_the_path_that_is_best_on_validation():
    network, widths = Perceptron(32), {"hidden": 8}
    sample = replace(evidence(network), seed=3)
    path = learned_gates.learned_path(network, sample)
    losses = [
        mean_loss(network, learned_gates.hard_gates(odds, widths), sample.validation_pixels, sample.validation_labels)
        for odds in path
    ]
    assert len({round(loss, 6) for loss in losses}) > 1
    chosen = learned_gates.learned_importance(network, sample, widths)
    assert torch.equal(chosen["hidden"], path[losses.index(min(losses))]["hidden"])


def test_learned_gates_close_as_the_penalty_rises(monkeypatch):
    network = Perceptron()
    monkeypatch.setattr(learned_gates, "PENALTIES", (0.0, 10.0))
    before, after = (odds["hidden"].mean() for odds in learned_gates.learned_path(network, evidence(network)))
    assert after < 0 < before


def test_random_scores_are_those_of_the_seed():
    network = cell_network()
    sample = evidence(network, 16)
    first, again, other = (stem_scores(network, "random", evidence=replace(sample, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"bn_scale"}))
def test_every_criterion_scores_a_network_that_is_not_ours(criterion):
    network = Perceptron()
    scores = channel_importance(network, {"hidden": 4}, criterion, evidence(network, 64))
    assert scores["hidden"].shape == (8,)
    assert len(scores["hidden"].unique()) > 1


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {"bn_scale"}))
def test_criteria_leave_the_network_as_it_was(criterion):
    network = Perceptron()
    before, sample = {name: value.clone() for name, value in network.state_dict().items()}, evidence(network, 32)
    channel_importance(network.train(), {"hidden": 4}, criterion, sample)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("criterion", sorted(NEEDS_EVIDENCE))
def test_missing_evidence_is_named(criterion):
    with pytest.raises(ValueError, match=f"criterion {criterion} must be given evidence .* but got none"):
        channel_importance(Perceptron(), {"hidden": 4}, criterion)


def test_learned_mask_needs_validation_evidence():
    network = Perceptron()
    sample = replace(evidence(network, 16), validation_labels=np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="must be given validation evidence"):
        channel_importance(network, {"hidden": 4}, "learned", sample)


def test_bn_scale_names_the_groups_without_a_norm():
    with pytest.raises(ValueError, match=r"a batch normalisation in every group: \['hidden'\] lack one"):
        channel_importance(Perceptron(), {"hidden": 4}, "bn_scale")


def test_unknown_criterion_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"criterion must be one of l1, l2, .* but got 'l3'"):
        channel_importance(Perceptron(), {"hidden": 4}, "l3")


def test_by_channel_gathers_blocks_and_repeated_rows():
    value = torch.arange(12.0).view(12, 1)  # two runs of three channels, two rows each
    rows = by_channel(value, Axis("weight", 0, "heads", blocks=2, repeat=2), 3)
    assert rows.tolist() == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]


def test_gates_repeat_as_their_axis_does():
    network = Perceptron(12)
    network.coupled_axes = lambda: iter([Axis("second.weight", 1, "hidden", blocks=2, repeat=2)])
    network.group_widths = lambda: {"hidden": 3}
    images = pixels(16)
    gated = gated_loss(network, {"hidden": torch.tensor([1.0, 0.0, 1.0])}, images.numpy(), np.zeros(16, np.int64))
    with torch.no_grad():
        network.second.weight[:, [2, 3, 8, 9]] = 0
        assert float(gated) == pytest.approx(float(functional.cross_entropy(network(images), torch.zeros(16).long())))
