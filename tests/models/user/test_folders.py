from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from automl.errors import InputError
from automl.models.deployable import Task
from automl.models.user.folders import open_folder
from automl.models.user.source import ModelSource, build_module

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("image")
    config = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3, num_channels=3
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, num_labels=3,
        max_position_embeddings=16, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_open_folder_reads_an_image_classifier(image_folder):
    source = ModelSource(str(image_folder))
    module = build_module(source, Task((32, 32, 3), 3, (0.0,) * 3, (1.0,) * 3))
    assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert source.is_trained() and not source.is_factory


def test_open_folder_masks_the_padding_of_texts(text_folder):
    module = build_module(ModelSource(str(text_folder)), Task((6,), 3, (), (), "int64", 30)).eval()
    short = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, 0, 0, 0]])
    assert torch.allclose(module(short), module(padded), atol=1e-5)
    assert not torch.allclose(module(short), module(torch.tensor([[5, 6, 8]])), atol=1e-5)


def test_open_folder_refuses_other_classes(image_folder):
    with pytest.raises(InputError, match=r"a model of the data's 7 classes, but got 3 in .* Fine-tune"):
        open_folder(image_folder, 7)


def write_folder(folder: Path, config: dict[str, object], *files: str) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    for name in files:
        (folder / name).write_bytes(b"x")
    return folder


CLASSIFIER = {"architectures": ["ResNetForImageClassification"]}


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        (CLASSIFIER, ["pytorch_model.bin"], r"but got .* with the pickle pytorch_model.bin. Convert"),
        (CLASSIFIER, [], "without weights"),
        (CLASSIFIER | {"auto_map": {"AutoModel": "x.Y"}}, ["model.safetensors"], "brings code of its own"),
        ({"architectures": ["LlamaForCausalLM"]}, ["model.safetensors"], "sequence classifier, but got .* with Llama"),
        ({"architectures": ["NoSuchForImageClassification"]}, ["model.safetensors"], "model.source must be a folder"),
    ],
)  # fmt: skip
def test_open_folder_says_what_it_does_not_read(config, files, message, tmp_path):
    with pytest.raises(InputError, match=message):
        open_folder(write_folder(tmp_path, config, *files), 3)


def test_open_folder_knows_a_modelscope_folder_of_another_library(tmp_path):
    (tmp_path / "configuration.json").write_text("{}")
    with pytest.raises(InputError, match="a ModelScope folder of another library"):
        open_folder(tmp_path, 3)
