"""How a compressed network differs from its uncompressed twin: answer by answer, from what both files say."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from automl.data.dataset import Dataset, Split

SHOWN = 24  # samples where the two disagree
SIDE_PX = 96  # an image is shown at least this large


@dataclass(frozen=True)
class ClassChange:
    """One class: its samples, and the share of them that each file answers right."""

    name: str
    samples: int
    twin: float
    model: float


@dataclass(frozen=True)
class Disagreement:
    """A sample that the two answer differently: a picture as a data URI, or a text; the label and both answers."""

    index: int
    picture: str
    text: str
    label: str
    twin: str
    model: str


@dataclass(frozen=True)
class Difference:
    """All of a split. `only_twin` and `only_model` count the samples that one of the two alone answers right.

    `samples` holds the first of those that they answer differently, the ones that the twin alone has right before the
    others, then those that the model alone has.
    """

    split: str
    total: int
    agreeing: int
    only_twin: int
    only_model: int
    classes: tuple[ClassChange, ...]
    samples: tuple[Disagreement, ...]


def difference(dataset: Dataset, split_name: str, twin: np.ndarray, model: np.ndarray) -> Difference:
    """Return how the answers of two files differ on a split.

    Args:
        dataset: that both were scored on.
        split_name: "test" or "validation".
        twin: `n` class indices that the twin's file answers.
        model: `n` class indices that the compressed file answers.
    """
    split: Split = dataset.test if split_name == "test" else dataset.validation
    twin_right, model_right = twin == split.labels, model == split.labels
    rank = np.select([twin_right, model_right], [0, 1], 2)
    differing = np.flatnonzero(twin != model)
    shown = differing[np.argsort(rank[differing], kind="stable")][:SHOWN]
    return Difference(
        split_name,
        len(split),
        int((twin == model).sum()),
        int((twin_right & ~model_right).sum()),
        int((model_right & ~twin_right).sum()),
        tuple(_class_change(dataset, split, label, twin_right, model_right) for label in np.unique(split.labels)),
        tuple(_disagreement(dataset, split, int(index), twin, model) for index in shown),
    )


def _class_change(
    dataset: Dataset, split: Split, label: int, twin_right: np.ndarray, model_right: np.ndarray
) -> ClassChange:
    of_class = split.labels == label
    shares = (float(right[of_class].mean()) for right in (twin_right, model_right))
    return ClassChange(dataset.classes[label], int(of_class.sum()), *shares)


def _disagreement(dataset: Dataset, split: Split, index: int, twin: np.ndarray, model: np.ndarray) -> Disagreement:
    names = [dataset.classes[int(answers[index])] for answers in (split.labels, twin, model)]
    sample = split.pixels[index]
    if dataset.tokenizer is not None:
        return Disagreement(index, "", _decoded(dataset.tokenizer, sample), *names)
    return Disagreement(index, picture_uri(sample, dataset.pixel_max), "", *names)


def _decoded(tokenizer_json: str, ids: np.ndarray) -> str:
    from tokenizers import Tokenizer, decoders

    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.decode(ids.tolist())).strip()


def picture_uri(pixels: np.ndarray, pixel_max: int) -> str:
    """Return an image as a PNG data URI, enlarged pixel by pixel where it is small.

    Args:
        pixels: `H x W`, or `H x W x C` of one, two, three or four channels (of other numbers the first is shown).
        pixel_max: the largest value, which becomes white.
    """
    from PIL import Image

    levels = np.clip(pixels.astype(np.float32) * (255.0 / pixel_max), 0, 255).round().astype(np.uint8)
    if levels.ndim == 3 and levels.shape[2] not in (3, 4):
        levels = levels[:, :, 0]
    scale = max(1, -(-SIDE_PX // min(levels.shape[:2])))
    image = Image.fromarray(levels)
    enlarged = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    enlarged.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
