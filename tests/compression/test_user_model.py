from __future__ import annotations

import numpy as np
import pytest
import torch

from automl.candidate import QuantizationPlan
from automl.compression import user_model
from automl.compression.pruning import prune_network
from automl.compression.user_model import describe_user_model, open_source, open_user_model
from automl.errors import InputError
from automl.models.deployable import INPUT
from automl.models.user.source import ModelSource
from automl.models.user.traced import TracedModel
from tests.models.user.user_networks import COLOUR

NETWORKS = "tests.models.user.user_networks"
STUDENT = ModelSource("automl.models.zoo.resnet:residual_student")
LEAKY = ModelSource(f"{NETWORKS}:Leaky")


def test_open_user_model_writes_what_can_be_traced():
    opened = open_source(STUDENT, COLOUR)
    assert isinstance(opened.network, TracedModel) and (opened.kind, opened.reason) == ("traced", "")


def test_open_user_model_falls_back_to_torchs_exporter():
    opened = open_source(LEAKY, COLOUR)
    assert opened.kind == "opaque" and "LeakyReLU" in opened.reason


def test_opaque_model_is_pruned_exported_and_answers_alike():
    import onnxruntime

    network = open_user_model(LEAKY, COLOUR).eval()
    assert network.group_widths() == {"first": 8, "second": 6}
    small = prune_network(network, (4, 3)).eval()
    assert sum(p.numel() for p in small.parameters()) < 0.5 * sum(p.numel() for p in network.parameters())
    content = small.write(QuantizationPlan((32,), (32,)), codes=None, largest_code=127, batch=2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    answers = onnxruntime.InferenceSession(content).run(None, {INPUT: pixels})[0]
    assert np.abs(answers - small(torch.from_numpy(pixels)).detach().numpy()).max() < 1e-5


def test_opaque_model_keeps_groups_whose_removal_is_not_exact(monkeypatch):
    monkeypatch.setattr(user_model, "surgery_error", lambda _module, groups, *_: len(groups) != 1)
    coupling = open_source(LEAKY, COLOUR).network.coupling()
    assert coupling.groups == ()
    assert coupling.whole["first"] == "its removal changes other channels' answers"


def test_describe_user_model_names_groups_and_stages():
    model, multiples = describe_user_model(STUDENT, COLOUR, 8)
    assert (model.name, model.kind, model.stage_count, multiples) == ("residual_student", "traced", 3, {})
    assert dict(zip(model.groups, model.widths, strict=True))["layer3.0.conv2"] == 64
    assert model.stages == (0, 0, 1, 1, 2, 2)


def test_digest_follows_graph_and_given_weights_not_fresh_ones(tmp_path):
    def digest(source: ModelSource, seed: int = 0) -> str:
        torch.manual_seed(seed)
        return open_source(source, COLOUR).digest

    assert digest(STUDENT, 0) == digest(STUDENT, 1) != digest(LEAKY)
    given = ModelSource(STUDENT.source, tmp_path / "w.pt")
    found = set()
    for shift in (0.0, 1.0):
        state = open_user_model(STUDENT, COLOUR).own_module().state_dict()
        torch.save({name: value * 0 + shift for name, value in state.items()}, tmp_path / "w.pt")
        found.add(digest(given))
    assert len(found | {digest(STUDENT)}) == 3


def test_open_user_model_passes_stages_on():
    network = open_user_model(ModelSource(STUDENT.source, stages=("conv1", "layer2")), COLOUR)
    assert len(network.stage_ends()) == 2
    opaque = open_user_model(ModelSource(LEAKY.source, stages=("first", "second")), COLOUR)
    assert opaque.stage_ends() == ("module.model.first", "module.model.second")
    with pytest.raises(InputError, match=r"model.stages must be modules, such as first, .* but got 'third'"):
        open_user_model(ModelSource(LEAKY.source, stages=("third",)), COLOUR)


def test_open_user_model_takes_an_onnx_file(tmp_path):
    network = open_user_model(STUDENT, COLOUR).eval()
    plan = QuantizationPlan((32,) * 3, (32,) * 3)
    (tmp_path / "net.onnx").write_bytes(network.write(plan, codes=None, largest_code=127, batch=1))
    opened = open_source(ModelSource(str(tmp_path / "net.onnx")), COLOUR)
    pixels = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    assert opened.kind == "onnx" and opened.network.group_widths() == {}
    assert torch.allclose(opened.network(pixels), network(pixels), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (ModelSource("absent.onnx"), "model.source must be an ONNX file, but got absent.onnx, which is no file"),
        (ModelSource("a.onnx", weights=STUDENT.source), "model.weights must be absent where the source is an ONNX"),
    ],
)  # fmt: skip
def test_open_user_model_refuses_files_that_do_not_fit(source, message):
    with pytest.raises(InputError, match=message):
        open_user_model(source, COLOUR)
