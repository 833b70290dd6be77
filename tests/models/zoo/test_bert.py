from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from automl.candidate import QuantizationPlan
from automl.compression.criteria import NEEDS_EVIDENCE, Evidence
from automl.compression.pruning import prune_network
from automl.compression.quantization import calibrate
from automl.compression.replacement import low_rank
from automl.errors import InputError
from automl.models.number_formats import Codes
from automl.models.zoo.bert import BertClassifier, bert_classifier
from automl.targets.session import open_runner, open_session

LENGTH, VOCABULARY, CLASSES, LAYERS = 12, 300, 5, 2
FORMATS = [  # bits, settings, the kernel that runs each linear layer, root mean square error by that of the logits
    ((32, 32), {}, "Gemm", 1e-5),
    ((16, 32), {}, "Gemm", 0.001),
    ((8, 32), {}, "Gemm", 0.02),
    ((4, 32), {}, "Gemm", 0.15),
    ((8, 32), {"block": 16}, "MatMulNBits", 0.02),
    ((4, 32), {"block": 32}, "MatMulNBits", 0.15),
    ((8, 8), {"activations": "dynamic"}, "DynamicQuantizeMatMul", 0.03),
    ((8, 8), {"activations": "dynamic", "scales": "tensor"}, "DynamicQuantizeMatMul", 0.03),
    ((4, 8), {"activations": "dynamic"}, "DynamicQuantizeMatMul", 0.15),
    ((8, 8), {"activations": "dynamic", "block": 32}, "MatMulNBits", 0.03),
    ((8, 8), {"activations": "static"}, "QGemm", 0.06),
]


def network() -> BertClassifier:
    """Return a classifier whose every part matters: all weights are random and of a size that shows."""
    torch.manual_seed(0)
    made = bert_classifier(CLASSES, LENGTH, VOCABULARY, width=32, layers=LAYERS, heads=4, neurons=64)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "embedding" in name:
                value.normal_()
            elif value.ndim == 1:
                value.add_(0.2 * torch.randn_like(value))
    return made.eval()


def ids(count: int = 40) -> np.ndarray:
    """Return random texts of all lengths from 1 token on."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCABULARY, (count, LENGTH))
    return np.where(np.arange(LENGTH) < 1 + np.arange(count)[:, None] % LENGTH, tokens, 0)


def logits(made: BertClassifier, samples: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return made(torch.from_numpy(samples)).numpy()  # type: ignore[no-any-return]


def plan(bits: tuple[int, int] = (32, 32), layers: int = LAYERS, **settings: object) -> QuantizationPlan:
    return QuantizationPlan((bits[0],) * layers, (bits[1],) * layers, **settings)  # type: ignore[arg-type]


def written(
    made: BertClassifier, path: Path, chosen: QuantizationPlan, codes: Codes | None = None, batch: int = 1
) -> Path:
    path.write_bytes(made.write(chosen, codes=codes, largest_code=64, batch=batch))
    return path


def run_kinds(path: Path) -> Counter[str]:
    """Return how often ONNX Runtime really runs each kind of node."""
    optimized = path.with_suffix(".optimized.onnx")
    open_session(path, optimized)
    return Counter(node.op_type for node in onnx.load(optimized).graph.node)


def halves(made: BertClassifier) -> dict[str, torch.Tensor]:
    return {group: torch.arange(1, width, 2) for group, width in made.group_widths().items()}


@pytest.mark.parametrize(("bits", "settings", "kernel", "tolerance"), FORMATS)
def test_file_answers_as_torch_in_the_kernels_it_names(tmp_path, bits, settings, kernel, tolerance):
    made, samples = network(), ids()
    chosen = plan(bits, **settings)
    path = written(made, tmp_path / "text.onnx", chosen, calibrate(made, samples, chosen))
    expected = logits(made, samples)
    error = float(np.square(open_runner(path)(samples) - expected).mean() ** 0.5 / expected.std())
    assert error <= tolerance
    assert (error > 1e-5) == (bits != (32, 32))
    kinds = run_kinds(path)
    assert kinds[kernel] == 4 * LAYERS + 1
    assert kinds["MatMul"] == 2 * LAYERS + 1  # products of activations


def test_file_is_the_same_for_every_batch(tmp_path):
    made, samples = network(), ids()
    one, eight = (written(made, tmp_path / f"{batch}.onnx", plan(), batch=batch) for batch in (1, 8))
    np.testing.assert_allclose(open_runner(one)(samples), open_runner(eight)(samples), atol=1e-5)


def test_nominal_file_has_the_graph_of_the_calibrated_one(tmp_path):
    chosen = plan((8, 8))
    made = network()
    files = [
        written(made, tmp_path / f"{name}.onnx", chosen, codes)
        for name, codes in (("nominal", None), ("calibrated", calibrate(made, ids(), chosen)))
    ]
    assert run_kinds(files[0]) == run_kinds(files[1])
    assert files[0].stat().st_size == files[1].stat().st_size


def test_mixed_precision_acts_layer_by_layer(tmp_path):
    mixed = QuantizationPlan((8, 32), (8, 32), activations="dynamic")
    kinds = run_kinds(written(network(), tmp_path / "text.onnx", mixed))
    assert (kinds["DynamicQuantizeMatMul"], kinds["Gemm"]) == (4, 5)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (plan(layers=3), "bits for each of 2 layers, but got 3"),
        (plan((8, 16)), r"must be among .* but got \[\(8, 16\)\]"),
        (plan((4, 32), weights="codebook"), "must be uniform codes, but got codebook"),
        (plan((8, 8), training="qat"), "after training, but got training qat"),
        (plan((8, 32), block=24), "a power of two of at least 16 weights, but got 24"),
        (plan((8, 8), block=32), "dynamic or 32-bit activations"),
    ],
)
def test_write_refuses_what_the_file_cannot_keep(chosen, message):
    with pytest.raises(ValueError, match=message):
        network().write(chosen, codes=None, largest_code=64, batch=1)


def test_training_leaves_padding_out_and_answers_the_same():
    made, samples = network().double(), torch.from_numpy(ids())
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = made(samples)
    rows: list[int] = []
    made.layers["0"].feed_forward.up.register_forward_hook(lambda _, __, out: rows.append(out.shape[0]))
    torch.testing.assert_close(made.train()(samples), expected, rtol=0, atol=1e-12)
    assert rows == [int((samples > 0).sum())]


def test_padding_alone_gives_numbers(tmp_path):
    made, nothing = network(), np.zeros((1, LENGTH), np.int64)
    assert np.isfinite(logits(made, nothing)).all()
    assert np.isfinite(logits(made.train(), nothing)).all()
    assert np.isfinite(open_runner(written(made, tmp_path / "text.onnx", plan()))(nothing)).all()


def test_narrowed_equals_masked_and_is_smaller():
    made = network().double()
    narrow, masked = made.narrowed(halves(made)), network().double()
    with torch.no_grad():
        for layer in masked.layers.values():
            layer.feed_forward.down.weight[:, 0::2] = 0
            layer.attention.out.weight.view(32, 4, 8)[:, 0::2] = 0
    samples = torch.from_numpy(ids())
    torch.testing.assert_close(narrow(samples), masked(samples), rtol=0, atol=1e-12)
    assert narrow.group_widths() == {group: width // 2 for group, width in made.group_widths().items()}
    sizes = [sum(value.numel() for value in each.layers.parameters()) for each in (narrow, made)]
    assert sizes[0] < 0.55 * sizes[1]


def test_narrowed_file_answers_as_torch(tmp_path):
    made, samples = network(), ids()
    narrow = made.narrowed(halves(made))
    path = written(narrow, tmp_path / "text.onnx", plan())
    np.testing.assert_allclose(open_runner(path)(samples), logits(narrow, samples), atol=1e-4)
    assert path.stat().st_size < written(made, tmp_path / "full.onnx", plan()).stat().st_size - 4 * 32 * 32 * 3


@pytest.mark.parametrize("criterion", ["l1", "geometric_median", "taylor", "sensitivity", "random"])
def test_prune_network_removes_heads_and_neurons(criterion):
    made, samples = network(), ids()
    labels = np.arange(len(samples)) % CLASSES
    evidence = Evidence(samples, labels, samples, labels, 0) if criterion in NEEDS_EVIDENCE else None
    pruned = prune_network(made, [2, 16, 3, 48], criterion, evidence)
    assert list(pruned.group_widths().values()) == [2, 16, 3, 48]
    assert logits(pruned, samples).shape == (len(samples), CLASSES)


def test_prune_network_keeps_the_heads_with_large_weights():
    made = network()
    with torch.no_grad():
        for name in ("query", "key", "value"):
            getattr(made.layers["0"].attention, name).weight.view(4, 8, 32)[[0, 3]] *= 10
    pruned = prune_network(made, [2, 64, 4, 64], "l1")
    kept = made.layers["0"].attention.value.weight.view(4, 8, 32)[[0, 3]].flatten(0, 1)
    assert torch.equal(pruned.layers["0"].attention.value.weight, kept)


@pytest.mark.parametrize(("multiple", "heads"), [(1, 1), (8, 1), (16, 2), (12, 3)])
def test_group_multiples_count_whole_heads(multiple, heads):
    multiples = network().group_multiples(multiple)
    assert multiples["layers.0.attention"] == heads
    assert multiples["layers.0.feed_forward"] == multiple


def test_without_removes_a_layer_and_keeps_the_names_of_the_others(tmp_path):
    made = network()
    shallow = made.without(["layers.0"])
    assert shallow.groups_kept([1, 2, 3, 4]) == {"layers.1.attention": 3, "layers.1.feed_forward": 4}
    assert shallow.stage_ends() == ("layers.1", "layers.1")
    assert shallow.droppable() == ()
    samples = ids()
    path = written(shallow, tmp_path / "text.onnx", plan())
    np.testing.assert_allclose(open_runner(path)(samples), logits(shallow, samples), atol=1e-4)
    assert np.abs(logits(shallow, samples) - logits(made, samples)).max() > 0.1


@pytest.mark.parametrize(
    ("dropped", "message"),
    [(["layers.7"], "among layers.0, layers.1, but got layers.7"), (["layers.0", "layers.1"], "one layer stays")],
)
def test_without_refuses_what_cannot_be_spared(dropped, message):
    with pytest.raises(InputError, match=message):
        network().without(dropped)


def test_with_chains_factorises_layers(tmp_path):
    made, samples = network(), ids()
    names = ["layers.0.attention.query", "layers.1.feed_forward.up"]
    chained = made.with_chains({name: low_rank(made.get_submodule(name), 8) for name in names})
    path = written(chained, tmp_path / "text.onnx", plan())
    np.testing.assert_allclose(open_runner(path)(samples), logits(chained, samples), atol=1e-4)
    assert run_kinds(path)["Gemm"] + run_kinds(path)["MatMul"] > 4 * LAYERS + 1 + 2 * LAYERS + 1
    assert np.abs(logits(chained, samples) - logits(made, samples)).max() > 1e-3


def test_bert_classifier_names_every_fault():
    with pytest.raises(InputError, match=r"length must be at least 1, but got 0\n.*layers must be at least 1"):
        bert_classifier(CLASSES, 0, VOCABULARY, layers=0)
    with pytest.raises(InputError, match="width must be a multiple of the 3 heads, but got 32"):
        bert_classifier(CLASSES, LENGTH, VOCABULARY, width=32, heads=3)
