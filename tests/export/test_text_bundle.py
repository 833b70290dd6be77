"""A bundle of a text classifier: raw lines in, the answers of the training pipeline out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from automl.candidate import PruningPlan, QuantizationPlan, UserModel
from automl.data.dataset import Dataset, load_dataset
from automl.data.text import encode_texts
from automl.export.bundle import BundleSource, file_record, write_bundle
from automl.export.manifest import read_manifest
from automl.export.predict import predict
from automl.export.verify import reload_dataset, score, verify_bundle
from automl.models.zoo.bert import bert_classifier
from automl.outcome import Artefact, Measurement, Ratio
from automl.targets import Control
from automl.targets.session import open_runner
from tests.data.tiny_texts import rows, write_texts
from tests.export.conftest import DEVICE, FakeTarget, fake_timing

LENGTH, VOCABULARY = 48, 300


@pytest.fixture
def texts(tmp_path: Path) -> Dataset:
    path = write_texts(tmp_path / "texts")
    shares = {"seed": 0, "validation_share": 0.2, "test_share": 0.2}
    return load_dataset("text", path, length=LENGTH, vocabulary=VOCABULARY, **shares)  # type: ignore[arg-type]


@pytest.fixture
def bundle(source: BundleSource, texts: Dataset, tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = bert_classifier(len(texts.classes), LENGTH, VOCABULARY, width=16, layers=1, heads=2, neurons=16).eval()
    with torch.no_grad():
        network.token_embedding.weight.normal_()
    model = tmp_path / "model.onnx"
    model.write_bytes(network.write(QuantizationPlan((32,), (32,)), codes=None, largest_code=64, batch=1))
    record = file_record(model)
    found = score(open_runner(model)(texts.validation.pixels), texts.validation.labels)
    figures = (*found.items(), ("latency_ms", 1.0), ("size_bytes", float(record.size_bytes)))
    widths = tuple(network.group_widths().values())
    user_model = UserModel("bert", "0" * 16, tuple(network.group_widths()), widths, (0, 0), 1)
    plans = {"pruning": PruningPlan(widths), "quantization": QuantizationPlan((32,), (32,))}
    made = replace(
        source,
        dataset=texts,
        model=model,
        control=Control("fp32", model, record.sha256, 2.0),
        candidate=replace(source.candidate, genotype=user_model, **plans),
        data_settings={
            "source": "text", "path": str(tmp_path / "texts"), "seed": 0, "validation": 0.2, "test": 0.2,
            "resize": None, "train_limit": None, "validation_limit": None, "augmentation": "none", "length": LENGTH,
            "vocabulary": VOCABULARY,
        },
        outcome=replace(
            source.outcome,
            measurements=tuple(
                Measurement(name, one, "measured", "p", one, one, 1, DEVICE, record.sha256) for name, one in figures
            ),
            artefact=Artefact(record.sha256, "model.onnx", record.size_bytes),
            timings=(fake_timing(record.sha256, Ratio(0.5, 0.495, 0.505), "trained"),),
        ),
    )  # fmt: skip
    write_bundle(tmp_path / "bundle", made)
    return tmp_path / "bundle"


def test_predict_answers_raw_lines_as_the_training_pipeline(bundle: Path, texts: Dataset, tmp_path: Path) -> None:
    lines = [text for text, _ in rows()]
    (tmp_path / "lines.txt").write_text("\r\n".join([*lines, "", "  "]), encoding="utf-8")
    assert texts.tokenizer is not None
    logits = open_runner(bundle / "model.onnx")(encode_texts(texts.tokenizer, lines, LENGTH))
    answers = predict(bundle, [tmp_path / "lines.txt"])
    assert [answer["class"] for answer in answers] == [texts.classes[label] for label in logits.argmax(axis=1)]
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert [answer["probability"] for answer in answers] == pytest.approx(shares.max(axis=1), abs=1e-4)
    assert len({answer["probability"] for answer in answers}) > len(lines) / 2


@pytest.mark.parametrize(
    ("content", "message"), [(b"\n \n", "at least one line"), (b"caf\xe9", "a text file in UTF-8")]
)
def test_predict_refuses_what_is_no_text(bundle: Path, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "lines.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        predict(bundle, [tmp_path / "lines.txt"])


def test_verify_loads_the_texts_again_and_scores_them(bundle: Path) -> None:
    dataset = reload_dataset(read_manifest(bundle), None)
    verification = verify_bundle(bundle, dataset, FakeTarget())
    assert verification.passed, verification
    assert {"tokenizer.json", "accuracy", "data", "split"} <= {check.name for check in verification.checks}


def test_verify_sees_a_changed_tokenizer(bundle: Path, texts: Dataset) -> None:
    path = bundle / "tokenizer.json"
    path.write_text(path.read_text() + " ")
    failed = [check.name for check in verify_bundle(bundle, texts, FakeTarget()).checks if check.holds is False]
    assert failed == ["tokenizer.json"]


def test_card_says_how_to_use_texts(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    assert "Input `pixels`: int64, 1 x 48, 0 to 299." in card
    assert "python predict.py TEXTS..." in card
    assert "pip install onnxruntime numpy tokenizers" in card
