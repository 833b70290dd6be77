"""How two files' answers differ, and the pictures of the samples."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from automl.data.images import Split
from automl.data.text import encode_texts, train_tokenizer
from automl.views.difference import SHOWN, difference, picture_uri
from tests.views.made_up_report import digits, made_up_difference


def test_difference_counts_who_is_right() -> None:
    found = made_up_difference()
    assert (found.only_twin, found.only_model) == (20, 10)
    assert found.agreeing == found.total - 40
    worst = found.classes[0]
    assert worst.twin - worst.model == pytest.approx(1 / worst.samples)


def test_difference_shows_what_the_twin_had_right_first() -> None:
    samples = made_up_difference().samples
    assert len(samples) == SHOWN
    assert [one.twin == one.label for one in samples[:21]] == [True] * 20 + [False]
    assert all(one.twin != one.model for one in samples)


def test_difference_of_equal_answers_is_none() -> None:
    dataset = digits()
    found = difference(dataset, "validation", dataset.validation.labels, dataset.validation.labels)
    assert (found.agreeing, found.samples, found.classes[0].twin) == (found.total, (), 1.0)


@pytest.mark.parametrize(("shape", "mode"), [((8, 8), "L"), ((8, 8, 3), "RGB"), ((8, 8, 2), "L"), ((8, 8, 1), "L")])
def test_picture_uri_is_a_png_of_the_pixels(shape: tuple[int, ...], mode: str) -> None:
    pixels = np.full(shape, 16, np.uint8)
    pixels[0, 0] = 0
    head, _, content = picture_uri(pixels, 16).partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert head == "data:image/png;base64"
    assert (image.mode, image.size, image.getextrema()) == (
        mode, (96, 96), (0, 255) if mode == "L" else ((0, 255),) * 3,
    )  # fmt: skip


def test_difference_of_texts_shows_their_words() -> None:
    texts = ["the card was lost", "where is my card"] * 2
    tokenizer = train_tokenizer(texts, 300)
    split = Split(encode_texts(tokenizer, texts, 24), np.array([0, 1, 0, 1]))
    dataset = replace(digits(), test=split, tokenizer=tokenizer, classes=("lost", "where"))
    found = difference(dataset, "test", np.array([0, 1, 0, 1]), np.array([0, 0, 0, 1]))
    (sample,) = found.samples
    assert (sample.text, sample.picture) == ("where is my card", "")
    assert (sample.label, sample.twin, sample.model) == ("where", "where", "lost")
