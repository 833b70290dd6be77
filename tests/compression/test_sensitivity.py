import itertools

import pytest
import torch

from automl.compression.sensitivity import Allocation, SensitivityScan, rounded_width, scan, suggest
from search_spaces.pruning import RATIOS, kept_width
from search_spaces.quantization import parse_pair
from tests.compression.small_networks import WIDTHS, Perceptron, cell_network, evidence, pixels

PAIRS = ((32, 32), (8, 8), (4, 32))


def recorded(cost=lambda network, plan: 0.0):
    """Return a score of 0.9 less the cost, and the list of what it was asked for."""
    asked = []

    def score(network, plan):
        asked.append((network.widths, plan.pairs()))
        return 0.9 - cost(network, plan)

    return score, asked


def test_scan_changes_one_stage_at_a_time():
    score, asked = recorded()
    scan(cell_network(), (0.5,), PAIRS, score, 4)
    plain = ((32, 32),) * 3
    assert asked[0] == (WIDTHS, plain)
    assert asked[1:4] == [((4, 16, 32), plain), ((8, 8, 32), plain), ((8, 16, 16), plain)]
    assert asked[4:] == [
        (WIDTHS, tuple(pair if at == stage else (32, 32) for at in range(3)))
        for stage in range(3)
        for pair in ((8, 8), (4, 32))
    ]


def test_scan_returns_the_accuracy_of_each_change():
    score, _ = recorded(lambda network, plan: 0.01 * (8 - network.widths[0]) + 0.1 * (plan.weight_bits[1] == 4))
    result = scan(cell_network(), (0.25, 0.5), PAIRS, score, 2)
    assert result.baseline == 0.9
    assert result.by_ratio[0] == pytest.approx({0.25: 0.88, 0.5: 0.86})
    assert result.by_ratio[2] == pytest.approx({0.25: 0.9, 0.5: 0.9})
    assert result.by_bits[1] == pytest.approx({(8, 8): 0.9, (4, 32): 0.8})


def test_scan_measures_the_pruned_network_itself():
    """The score is the agreement with the unpruned answers: by more pruning it can only come from other weights."""
    network = cell_network()
    with torch.inference_mode():
        expected = network(pixels(64)).argmax(dim=1)

    def score(pruned, _plan):
        with torch.inference_mode():
            return float((pruned.eval()(pixels(64)).argmax(dim=1) == expected).float().mean())

    result = scan(network, (0.75,), (), score, 2)
    assert result.baseline == 1.0
    assert min(accuracies[0.75] for accuracies in result.by_ratio) < 0.9


def test_scan_scores_equal_shapes_once_and_leaves_out_what_removes_nothing():
    score, asked = recorded()
    result = scan(cell_network(), (0.25, 0.5, 0.6), (), score, 8)
    assert [set(stage) for stage in result.by_ratio] == [set(), {0.5, 0.6}, {0.25, 0.5, 0.6}]
    assert len(asked) == 1 + 1 + 2


def test_scan_follows_the_stages_of_a_model_that_is_not_ours():
    network = Perceptron(8)
    network.stage_ends = lambda: ("first", "second")
    widths = []

    def score(pruned, _plan):
        widths.append(pruned.first.out_features)
        return 1.0

    result = scan(
        network, (0.5,), (), score, {"hidden": 1}, stages=(1,), criterion="taylor", evidence=evidence(network, 32)
    )
    assert widths == [8, 4]
    assert result.by_ratio == ({}, {0.5: 1.0})


@pytest.mark.parametrize("ratio", [0.0, 1.0, -0.5])
def test_scan_refuses_impossible_ratios(ratio):
    with pytest.raises(ValueError, match=f"above 0 and below 1, but got {ratio:g}"):
        scan(cell_network(), (0.5, ratio), (), lambda _network, _plan: 1.0, 4)


@pytest.mark.parametrize(("width", "multiple"), list(itertools.product((8, 16, 24, 96), (1, 8, 16))))
def test_rounded_width_is_that_of_the_search_space(width, multiple):
    for ratio in RATIOS:
        assert rounded_width(width, ratio, multiple) == kept_width(width, ratio, multiple)


SCAN = SensitivityScan(
    0.95,
    ({0.25: 0.95, 0.5: 0.93}, {0.25: 0.949, 0.5: 0.945, 0.75: 0.80}),
    ({(8, 8): 0.948, (4, 8): 0.90}, {(8, 8): 0.96, (4, 8): 0.955}),
)


@pytest.mark.parametrize(
    ("allowed", "ratios", "bits"),
    [
        (0.0, (0.25, 0.0), ((32, 32), (4, 8))),
        (0.002, (0.25, 0.0), ((8, 8), (4, 8))),
        (0.008, (0.25, 0.5), ((8, 8), (4, 8))),
        (1.0, (0.5, 0.75), ((4, 8), (4, 8))),
    ],
)
def test_suggest_spends_the_allowed_loss_where_it_gains_most(allowed, ratios, bits):
    found = suggest(SCAN, allowed)
    assert (found.ratios, found.bits) == (ratios, bits)
    assert found.expected_loss <= allowed + 1e-9


def test_allocation_names_choices_of_the_space():
    choices = Allocation((0.5, 0.0), ((8, 8), (32, 32)), 0.01).to_choices()
    assert choices == {"prune_0": 0.5, "prune_1": 0.0, "bits_0": "w8a8", "bits_1": "w32a32"}
    assert parse_pair(str(choices["bits_0"])) == (8, 8)
