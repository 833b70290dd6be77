"""Weights that a user brings: read without ever running code, and checked against the model name by name."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from automl.errors import Fault, InputError, input_error

WHERE = "model.weights"
SUFFIX = ".safetensors"
ZIP_OR_PICKLE = (b"PK\x03\x04", b"\x80")
NESTED = ("state_dict", "model", "model_state_dict")  # where training scripts keep the state dict of a checkpoint
PARALLEL = "module."  # what torch's DataParallel puts before every name
COUNTER = "num_batches_tracked"  # old state dicts lack it, and nothing depends on it
NAMED = 5  # names of one fault that a message shows


def load_weights(module: nn.Module, path: Path) -> None:
    """Give `module` the weights in a file.

    Args:
        module: of which every parameter and buffer must be in the file, and nothing else.
        path: safetensors, or a state dict that `torch.save` wrote, read with `weights_only`.

    Raises:
        InputError: where the file is missing, holds something else, or its names or shapes do not fit.
    """
    given = read_state_dict(path)
    faults = list(_faults(module.state_dict(), given, path))
    if faults:
        raise InputError(faults)
    module.load_state_dict(dict(given), strict=False)


def read_state_dict(path: Path) -> Mapping[str, torch.Tensor]:
    """Return the tensors of a file by name.

    Raises:
        InputError: where it is missing, or holds anything but tensors by name.
    """
    if not path.is_file():
        raise input_error(WHERE, "a file of weights", f"{path}, which is no file")
    state = _read_safetensors(path) if path.suffix == SUFFIX else _read_saved(path)
    for key in NESTED:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise input_error(WHERE, "tensors by name", f"{path} with other values", "Save model.state_dict() alone.")
    if state and all(name.startswith(PARALLEL) for name in state):
        return {name.removeprefix(PARALLEL): value for name, value in state.items()}
    return state


def _read_safetensors(path: Path) -> Mapping[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with path.open("rb") as file:
        is_pickle = file.read(4).startswith(ZIP_OR_PICKLE)
    if is_pickle:
        remedy = "Save it with safetensors, or call it .pt to have it read as a state dict, without running code."
        raise input_error(WHERE, "safetensors, as its name says", f"a pickle in {path}", remedy)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise input_error(WHERE, "safetensors, as its name says", f"{path}: {error}") from None


def _read_saved(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        got = f"{path}, which holds code or other objects ({_first_line(error)}); nothing of it was run"
        remedy = "Save model.state_dict() with torch.save, or the tensors with safetensors."
        raise input_error(WHERE, "safetensors, or a state dict of tensors alone", got, remedy) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        got = f"{path}: {_first_line(error)}"
        raise input_error(WHERE, "safetensors, or a state dict that torch.save wrote", got) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__


def _faults(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], path: Path) -> list[Fault]:
    missing = [name for name in expected if name not in given and not name.endswith(COUNTER)]
    unknown = [name for name in given if name not in expected]
    faults = []
    if missing:
        faults.append(Fault(f"{WHERE} ({path})", "weights of every layer of the model", f"none for {_some(missing)}"))
    if unknown:
        faults.append(Fault(f"{WHERE} ({path})", "weights of this model alone", f"others: {_some(unknown)}"))
    for name, value in given.items():
        if name in expected and value.shape != expected[name].shape:
            shapes = [list(tensor.shape) for tensor in (expected[name], value)]
            faults.append(Fault(f"{WHERE} ({path}): {name}", f"of shape {shapes[0]}", str(shapes[1])))
    return faults


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
