"""Model folders of Hugging Face and ModelScope, read from the disk alone, through transformers (an optional extra).

Supported: a folder with transformers' `config.json` of an image or sequence classifier and its `model.safetensors` (or
the shards with their index). ModelScope's folders of such models have the same files beside their `configuration.json`.
Folders with pickled weights, with code of their own, or of other libraries are refused with the reason.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from automl.errors import input_error

WHERE = "model.source"
LAYOUT = "a folder with transformers' config.json and model.safetensors"


class ImageAnswers(nn.Module):
    """An image classifier of transformers as a function from images to logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map `n x channels x h x w` to `n x classes` logits."""
        return self.network(pixel_values=x).logits  # type: ignore[no-any-return]


class SequenceAnswers(nn.Module):
    """A sequence classifier of transformers as a function from token ids to logits; what is `padding` is masked."""

    def __init__(self, network: nn.Module, padding: int) -> None:
        super().__init__()
        self.network = network
        self.padding = padding

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map `n x length` token ids to `n x classes` logits."""
        mask = (tokens != self.padding).long()
        return self.network(input_ids=tokens, attention_mask=mask).logits  # type: ignore[no-any-return]


def open_folder(folder: Path, classes: int) -> nn.Module:
    """Return the classifier in a folder; the network is never asked for anything.

    Raises:
        InputError: where the folder is of another kind, has other classes, or transformers is not there.
    """
    config = _config(folder)
    architecture = str((config.get("architectures") or [""])[0])
    kind = next((kind for kind in ("ImageClassification", "SequenceClassification") if kind in architecture), None)
    if kind is None:
        raise input_error(
            WHERE, "an image or sequence classifier", f"{folder} with {architecture or 'no architecture'}"
        )
    if config.get("auto_map"):
        raise input_error(WHERE, "an architecture of transformers itself", f"{folder}, which brings code of its own")
    network = _read(folder, kind)
    found = int(network.config.num_labels)
    if found != classes:
        remedy = "Fine-tune its last layer on these classes first."
        raise input_error(WHERE, f"a model of the data's {classes} classes", f"{found} in {folder}", remedy)
    if kind == "ImageClassification":
        return ImageAnswers(network)
    padding = network.config.pad_token_id
    return SequenceAnswers(network, -1 if padding is None else int(padding))


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        modelscope = (folder / "configuration.json").is_file()
        got = f"{folder}, a ModelScope folder of another library" if modelscope else f"{folder} without config.json"
        raise input_error(WHERE, LAYOUT, got)
    if not list(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.ckpt") for path in folder.glob(pattern))
        got = f"{folder} with the pickle {pickles[0]}" if pickles else f"{folder} without weights"
        raise input_error(WHERE, LAYOUT, got, "Convert the weights to safetensors.")
    try:
        config = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise input_error(WHERE, LAYOUT, f"{file}: {error}") from None
    if not isinstance(config, dict):
        raise input_error(WHERE, LAYOUT, f"{file}, which is no mapping")
    return config


def _read(folder: Path, kind: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise input_error(WHERE, "readable", f"{folder}, but transformers is not installed", "Install it.") from None
    opener = getattr(transformers, f"AutoModelFor{kind}")
    try:
        return opener.from_pretrained(
            str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
        ).eval()
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise input_error(WHERE, LAYOUT, f"{folder}: {' '.join(str(error).split())[:300]}") from None
