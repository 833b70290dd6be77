from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from automl.data.dataset import Dataset, load_dataset
from automl.data.text import SMALLEST_VOCABULARY, encode_texts, train_tokenizer
from automl.errors import InputError
from tests.data.tiny_texts import ENDINGS, rows, write_csv, write_texts

LENGTH, VOCABULARY = 48, 300


def load(path: Path, seed: int = 0, **settings: object) -> Dataset:
    options = {"length": LENGTH, "vocabulary": VOCABULARY, **settings}
    return load_dataset("text", path, seed=seed, validation_share=0.2, test_share=0.2, **options)  # type: ignore[arg-type]


def tokens_of(dataset: Dataset) -> set[str]:
    assert dataset.tokenizer is not None
    return set(json.loads(dataset.tokenizer)["model"]["vocab"])


def test_load_dataset_reads_a_folder_as_token_ids(tmp_path: Path) -> None:
    dataset = load(write_texts(tmp_path))
    assert (dataset.input_shape, dataset.pixel_max, dataset.classes) == (
        (LENGTH,),
        VOCABULARY - 1,
        tuple(sorted(ENDINGS)),
    )
    assert [len(dataset.train), len(dataset.validation), len(dataset.test)] == [18, 6, 9]
    assert dataset.train.pixels.dtype == np.int64
    assert dataset.train.pixels.min() >= 0
    assert dataset.full_train.pixels.max() < VOCABULARY


def test_load_dataset_labels_each_text_with_its_category(tmp_path: Path) -> None:
    dataset = load(write_texts(tmp_path))
    assert dataset.tokenizer is not None
    for text, category in rows(3, "Hello,"):
        ids = encode_texts(dataset.tokenizer, [text], LENGTH)
        label = dataset.test.labels[(dataset.test.pixels == ids).all(axis=1)]
        assert [dataset.classes[index] for index in label] == [category]


def test_load_dataset_splits_a_single_file(tmp_path: Path) -> None:
    dataset = load(write_csv(tmp_path / "texts.csv", rows()))
    parts = [{row.tobytes() for row in split.pixels} for split in (dataset.train, dataset.validation, dataset.test)]
    assert [len(part) for part in parts] == [12, 6, 6]
    assert len(set.union(*parts)) == 24


def test_load_dataset_takes_the_order_of_categories_json(tmp_path: Path) -> None:
    (tmp_path / "categories.json").write_text(json.dumps(["lost", "cost", "late"]))
    assert load(write_texts(tmp_path)).classes == ("lost", "cost", "late")


def test_load_dataset_repeats_with_its_seed_only(tmp_path: Path) -> None:
    path = write_texts(tmp_path)
    one, again, other = load(path), load(path), load(path, seed=1)
    assert (one.tokenizer, one.split_digest) == (again.tokenizer, again.split_digest)
    assert np.array_equal(one.train.pixels, again.train.pixels)
    assert one.split_digest != other.split_digest
    assert one.digest == again.digest == other.digest


def test_load_dataset_digest_sees_a_single_letter(tmp_path: Path) -> None:
    before = load(write_texts(tmp_path)).digest
    write_csv(tmp_path / "test.csv", [("Changed text", "late"), *rows(3, "Hello,")[1:]])
    assert load(tmp_path).digest != before


def test_load_dataset_limits_the_search(tmp_path: Path) -> None:
    dataset = load(write_texts(tmp_path), train_limit=6, validation_limit=3)
    assert [len(dataset.train), len(dataset.validation), len(dataset.full_train)] == [6, 3, 24]
    assert dataset.tokenizer == load(tmp_path).tokenizer


def test_load_dataset_takes_copies_out_and_names_their_lines(tmp_path: Path) -> None:
    test = [*rows(2, "Hello,"), ("HELP, my card has not arrived yet! ", "late")]
    dataset = load(write_texts(tmp_path, test=test))
    assert len(dataset.full_train) == 23
    copies = [text for text in dataset.warnings if "texts also stand in test and were taken out: line 2" in text]
    assert len(copies) == 1


def test_load_dataset_says_how_many_texts_were_cut(tmp_path: Path) -> None:
    assert "33 of 33 texts are longer than 4 tokens and were cut" in load(write_texts(tmp_path), length=4).warnings


def test_tokenizer_sees_training_texts_alone(tmp_path: Path) -> None:
    (text, category), *others = rows()
    train = [(f"{text} quokka quokka", category), *others]
    test = [(f"{text} wombat wombat wombat", name) for text, name in rows(3, "Hello,")]
    path = write_texts(tmp_path, train, test)
    found = [tokens_of(load(path, seed=seed, vocabulary=900)) for seed in range(9)]
    assert not any("wombat" in token for tokens in found for token in tokens)
    assert len({any("quokka" in token for token in tokens) for tokens in found}) == 2  # by the part line 2 fell to


def test_tokenizer_of_the_same_texts_is_the_same_in_another_process() -> None:
    texts = [text for text, _ in rows()] * 3
    script = (
        "import hashlib, sys, json\nfrom automl.data.text import train_tokenizer\n"
        "print(hashlib.sha256(train_tokenizer(json.loads(sys.argv[1]), 400).encode()).hexdigest())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, json.dumps(texts)], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == hashlib.sha256(train_tokenizer(texts, 400).encode()).hexdigest()


def test_encode_texts_pads_cuts_and_lowers() -> None:
    tokenizer = train_tokenizer([text for text, _ in rows()], VOCABULARY)
    ids = encode_texts(tokenizer, ["CARD", "card", "card " * 50, "日本 déjà 🙂"], 12)
    assert ids.shape == (4, 12)
    assert np.array_equal(ids[0], ids[1])
    assert ids[0, 0] == 1
    assert ids[0, -1] == 0
    assert (ids[2] > 0).all()
    assert (ids[3] > 0).sum() > 4


def test_encode_texts_of_none_is_empty() -> None:
    assert encode_texts(train_tokenizer(["a"], SMALLEST_VOCABULARY), [], 8).shape == (0, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"words,label\na,b\n", "whose first line is text,category, but got no text and no category"),
        (b"", "but got an empty file"),
        (b"text,category\n", "at least one text, but got none"),
        (b"text,category\n  ,late\nb,late\n\nc,\n", r"got an empty text in line 2\n.*got an empty category in line 5"),
        (b"text,category\n\"two\nlines\",late\nb,late,more\nc\n", "another number of columns .* in lines 4, 5"),
        (b"text,category\nca\xe9,late\nb,late\nd\xe9j\xe0,cost\n", r"a file in UTF-8, .* in lines 2, 4. Save it"),
        (b"text,category\na,late\nb,late\nc,late\n", "texts of at least two categories, but got one only: late"),
        (b"text,category\na,late\nb,late\nc,late\nd,cost\n", r"at least 3 texts of each category.*got cost \(1\)"),
    ],
)  # fmt: skip
def test_load_dataset_refuses_a_bad_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "texts.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load(path)


def test_load_dataset_reports_the_faults_of_all_files_at_once(tmp_path: Path) -> None:
    write_texts(tmp_path, [*rows(), ("", "late")], [("a", "late"), (" ", "late")])
    (tmp_path / "categories.json").write_text('["late", "late"]')
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert len(caught.value.faults) == 3


def test_load_dataset_refuses_categories_that_training_lacks(tmp_path: Path) -> None:
    write_texts(tmp_path, test=[*rows(1, "Hello,"), ("What is this?", "odd"), ("And this?", "odder")])
    with pytest.raises(InputError, match=r"of a category in train.csv each, but got odd, odder in lines 5, 6"):
        load(tmp_path)


def test_load_dataset_refuses_categories_that_the_list_lacks(tmp_path: Path) -> None:
    (tmp_path / "categories.json").write_text('["late", "lost", "other"]')
    with pytest.raises(InputError, match=r"(?s)categories.json each, but got cost in lines 4, .*got other \(0\)"):
        load(write_texts(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 2, "vocabulary": 100}, r"data.length must be from 4 to 4096.*\ndata.vocabulary must be at least"),
        ({"augmentation": "shift"}, "data.augmentation must be none where data.source is text, but got shift"),
    ],
)  # fmt: skip
def test_load_dataset_refuses_bad_settings(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(write_texts(tmp_path), **settings)


def test_load_dataset_refuses_a_folder_without_training_texts(tmp_path: Path) -> None:
    write_csv(tmp_path / "other.csv", rows())
    with pytest.raises(InputError, match=r"a folder with train.csv, but got only other.csv"):
        load(tmp_path)


def test_load_dataset_names_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"usable with the package tokenizers.*pip install 'automl\[text\]'"):
        load(write_texts(tmp_path))
