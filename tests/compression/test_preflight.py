from __future__ import annotations

import pytest
import torch

from automl.compression import preflight as module
from automl.compression.preflight import preflight
from automl.errors import InputError
from automl.models.user.source import ModelSource
from tests.models.user.user_networks import COLOUR

NETWORKS = "tests.models.user.user_networks"
STUDENT = ModelSource("automl.models.zoo.resnet:residual_student")


def test_preflight_takes_the_model_through_every_step():
    found = preflight(STUDENT, COLOUR, ratios=(0.0, 0.5), formats=((32, 32), (8, 8), (4, 32)))
    assert [check.name for check in found.checks] == [
        "build", "find coupled channels", "prune", "rank channels by l1", "hold against zeroed channels",
        "export in w32a32", "export in w8a8", "export in w4a32",
    ]  # fmt: skip
    assert found.model.stage_count == 3
    assert "fc keeps its channels: its channels are the answers" in found.notes
    before, after = (int(check.result.split()[0].replace(",", "")) for check in (found.checks[0], found.checks[2]))
    assert after < 0.3 * before


def test_preflight_says_why_a_model_is_exported_by_torch():
    notes = preflight(ModelSource(f"{NETWORKS}:Leaky"), COLOUR).notes
    assert any("its graph is not written by us: act (" in note and "LeakyReLU" in note for note in notes)


@pytest.mark.parametrize("ratio", [1.0, -0.1, 1.5])
def test_preflight_refuses_a_ratio_that_takes_all(ratio):
    with pytest.raises(InputError, match=rf"pruning.ratios must be at least 0 and below 1, but got {ratio:g}"):
        preflight(STUDENT, COLOUR, ratios=(0.5, ratio))


def test_preflight_refuses_a_model_that_no_trace_can_hold():
    with pytest.raises(
        InputError, match=r"(?s)its exported file must answer as .*user_networks.py line .* control flow"
    ):
        preflight(ModelSource(f"{NETWORKS}:Branching"), COLOUR)


def test_preflight_refuses_a_criterion_that_the_model_gives_nothing_for():
    with pytest.raises(
        InputError, match=r"rank channels by bn_scale must be possible .* \['first', 'second'\] lack one"
    ):
        preflight(ModelSource(f"{NETWORKS}:Leaky"), COLOUR, criteria=("l1", "bn_scale", "taylor"))


def test_preflight_refuses_weights_that_do_not_fit(tmp_path):
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"conv1.weight must be of shape \[16, 3, 3, 3\], but got \[1\]"):
        preflight(ModelSource(STUDENT.source, tmp_path / "w.pt"), COLOUR)


def test_preflight_names_the_group_that_cannot_be_removed(monkeypatch):
    bad = "layer2.0.conv1"
    monkeypatch.setattr(module, "surgery_error", lambda _m, groups, *_: float(bad in {g.name for g in groups}))
    with pytest.raises(InputError, match=rf"^the channels of {bad} must be removable without a change"):
        preflight(STUDENT, COLOUR)


def test_preflight_turns_a_failing_step_into_a_named_fault(monkeypatch):
    def fails(*_args: object) -> object:
        raise ZeroDivisionError("a kernel of size 0")

    monkeypatch.setattr(module, "nominal_structure", fails)
    with pytest.raises(InputError, match=r"preflight: prune must be possible .* ZeroDivisionError: a kernel of size 0"):
        preflight(STUDENT, COLOUR)
