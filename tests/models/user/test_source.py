from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
import torch

from automl.errors import InputError
from automl.models.deployable import Task
from automl.models.user.source import ModelSource, build_module, build_with_notes

COLOUR = Task((8, 8, 3), 4, (0.0,) * 3, (1.0,) * 3)
GREY = Task((8, 8), 4, (0.0,), (1.0,))
MODULE = """
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, num_classes=4, in_channels=3):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, 6, 3)
            self.head = nn.Linear(6, num_classes)

        def forward(self, x):
            return self.head(torch.relu(self.conv(x)).mean((2, 3)))

    def colours(num_classes):
        return Net(num_classes, 3)

    def four():
        return Net()

    def no_module(classes):
        return classes

    def demanding(secret):
        return Net()

    def failing():
        raise RuntimeError("no such depth")

    value = 3
"""


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a user's module into the working directory, under a name of its own for each test."""
    name = f"user_module_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize(("factory", "task", "inputs"), [("Net", COLOUR, 3), ("Net", GREY, 1), ("four", COLOUR, 3)])
def test_build_module_gives_the_factory_what_it_takes(in_folder, factory, task, inputs):
    module = build_module(ModelSource(f"{in_folder}:{factory}"), task)
    assert module.conv.in_channels == inputs and module.head.out_features == 4
    assert not any(path == str(Path.cwd()) for path in sys.path)


def test_build_module_sums_colours_for_grey_images(in_folder):
    torch.manual_seed(0)
    module, notes = build_with_notes(ModelSource(f"{in_folder}:colours"), GREY)
    torch.manual_seed(0)
    original = build_module(ModelSource(f"{in_folder}:colours"), COLOUR)
    grey = torch.randn(2, 1, 8, 8)
    assert torch.allclose(module(grey), original(grey.expand(2, 3, 8, 8)), atol=1e-6)
    assert "takes 3 channels and the images have 1" in notes[0]


def test_build_module_loads_the_given_weights(in_folder, tmp_path):
    source = ModelSource(f"{in_folder}:Net", tmp_path / "w.pt")
    state = {name: value + 1 for name, value in build_module(ModelSource(source.source), COLOUR).state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    assert torch.equal(build_module(source, COLOUR).head.bias, state["head.bias"])
    assert source.is_trained() and not ModelSource(source.source).is_trained()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("absent", r"a function in user_module_.* that builds the model, but got absent: nothing of that name. It has"),
        ("value", r"but got value: a int"),
        ("no_module", r"a factory of a torch.nn.Module, but got a int"),
        ("demanding", r"but got TypeError: demanding\(\) missing 1 required positional argument: 'secret'"),
        ("failing", r"but got RuntimeError: no such depth"),
    ],
)
def test_build_module_says_what_is_wrong_with_a_factory(in_folder, factory, message):
    with pytest.raises(InputError, match=message):
        build_module(ModelSource(f"{in_folder}:{factory}"), COLOUR)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no_such_package.models:net", "No module named 'no_such_package'. Run from the folder"),
        ("no_such_thing", "model.source must be package.module:factory, an ONNX file, or a folder"),
    ],
)
def test_build_module_says_where_it_looked(source, message):
    with pytest.raises(InputError, match=message):
        build_module(ModelSource(source), COLOUR)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task((8, 8, 3), 5, (0.0,) * 3, (1.0,) * 3), r"to \[2, 5\] logits, but got \[2, 4\]"),
        (Task((2, 2, 3), 4, (0.0,) * 3, (1.0,) * 3), r"a map from \[2, 3, 2, 2\] float32 .* RuntimeError"),
    ],
)
def test_build_module_checks_the_answers(in_folder, task, message):
    with pytest.raises(InputError, match=message):
        build_module(ModelSource(f"{in_folder}:four"), task)


@pytest.mark.parametrize(
    ("source", "name"), [("a.b:resnet", "resnet"), ("models/net.onnx", "net"), ("/hub/vit-tiny", "vit-tiny")]
)
def test_source_is_called_after_its_factory_file_or_folder(source, name):
    assert ModelSource(source).name == name
