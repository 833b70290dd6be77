from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from automl.errors import InputError
from automl.models.user.weights import load_weights


def small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2))


def given() -> dict[str, torch.Tensor]:
    return {name: torch.full_like(value, 2) for name, value in small().state_dict().items()}


def is_loaded(module: nn.Module) -> bool:
    return all(bool((value == 2).all()) for value in module.state_dict().values())


def test_load_weights_reads_safetensors(tmp_path):
    from safetensors.torch import save_file

    save_file(given(), tmp_path / "w.safetensors")
    module = small()
    load_weights(module, tmp_path / "w.safetensors")
    assert is_loaded(module)


@pytest.mark.parametrize(
    "saved",
    [
        given(),
        {"state_dict": given(), "epoch": 3},
        {f"module.{name}": value for name, value in given().items()},
    ],
)
def test_load_weights_reads_a_state_dict(saved, tmp_path):
    torch.save(saved, tmp_path / "w.pt")
    module = small()
    load_weights(module, tmp_path / "w.pt")
    assert is_loaded(module)


def test_load_weights_names_every_key_and_shape_that_does_not_fit(tmp_path):
    state = given() | {"2.weight": torch.zeros(7, 4), "3.weight": torch.zeros(1)}
    del state["0.bias"]
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError) as caught:
        load_weights(small(), tmp_path / "w.pt")
    text = str(caught.value)
    assert "weights of every layer of the model, but got none for 0.bias" in text
    assert "weights of this model alone, but got others: 3.weight" in text
    assert "2.weight must be of shape [2, 4], but got [7, 4]" in text


class Marker:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("save", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save])
def test_load_weights_never_runs_code_of_a_pickle(save, tmp_path):
    save({"0.weight": Marker(str(tmp_path / "was_run"))}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"state dict of tensors alone, but got .*w.pt, which holds code .* nothing"):
        load_weights(small(), tmp_path / "w.pt")
    assert not (tmp_path / "was_run").exists()


def test_load_weights_refuses_a_pickle_called_safetensors(tmp_path):
    torch.save(given(), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match=r"must be safetensors, as its name says, but got a pickle .* call it .pt"):
        load_weights(small(), tmp_path / "w.safetensors")


@pytest.mark.parametrize(("name", "content"), [("w.safetensors", b"nothing"), ("w.pt", b"PK\x03\x04 nothing")])
def test_load_weights_refuses_a_broken_file(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"model.weights must be safetensors"):
        load_weights(small(), tmp_path / name)


def test_load_weights_refuses_what_is_no_file_or_no_weights(tmp_path):
    with pytest.raises(InputError, match=r"model.weights must be a file of weights, but got .*absent.pt"):
        load_weights(small(), tmp_path / "absent.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(InputError, match=r"tensors by name, but got .* Save model.state_dict\(\) alone"):
        load_weights(small(), tmp_path / "list.pt")
