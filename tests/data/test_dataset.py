from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from automl.data.dataset import Dataset, Split, join_splits, load_dataset
from automl.errors import InputError
from tests.data.tiny_images import arrays, with_test, write_npz


def load(
    path: Path, seed: int = 0, train_limit: int | None = None, validation_limit: int | None = None
) -> Dataset:  # fmt: skip
    return load_dataset(
        "npz",
        path,
        seed=seed,
        validation_share=0.2,
        test_share=0.2,
        train_limit=train_limit,
        validation_limit=validation_limit,
    )


def contents(split: Split) -> set[bytes]:
    return {image.tobytes() for image in split.pixels}


def load_digits() -> Dataset:
    return load_dataset("digits", None, seed=0, validation_share=0.2, test_share=0.2, augmentation="shift")


def test_load_dataset_splits_digits() -> None:
    digits = load_digits()
    assert [len(digits.train), len(digits.validation), len(digits.test)] == [1079, 359, 359]
    assert (digits.pixel_max, digits.input_shape, digits.augmentation) == (16, (8, 8), "shift")
    assert digits.train.pixels.dtype == np.uint8
    assert digits.train.labels.dtype == np.int64
    assert digits.classes == tuple("0123456789")


def test_load_dataset_splits_are_disjoint_and_whole(tmp_path: Path) -> None:
    values = arrays()
    dataset = load(write_npz(tmp_path, values))
    parts = [contents(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert sum(len(part) for part in parts) == len(set.union(*parts)) == 40
    assert contents(dataset.full_train) == parts[0] | parts[1]


def test_load_dataset_keeps_each_image_with_its_label(tmp_path: Path) -> None:
    values = arrays()
    label_of = {image.tobytes(): label for image, label in zip(values["x_train"], values["y_train"], strict=True)}
    dataset = load(write_npz(tmp_path, values), train_limit=8, validation_limit=4)
    for split in (dataset.train, dataset.validation, dataset.test, dataset.full_train):
        assert [label_of[image.tobytes()] for image in split.pixels] == split.labels.tolist()


def test_load_dataset_stratifies(tmp_path: Path) -> None:
    values = arrays(count=60, classes=2)
    values["y_train"] = (np.arange(60) % 3 == 0).astype(np.int64)  # 40 and 20
    dataset = load(write_npz(tmp_path, values), train_limit=9)
    counts = [np.bincount(split.labels).tolist() for split in (dataset.train, dataset.validation, dataset.test)]
    assert counts == [[6, 3], [8, 4], [8, 4]]


def test_load_dataset_uses_the_given_test_set_as_it_is(tmp_path: Path) -> None:
    values = with_test()
    dataset = load(write_npz(tmp_path, values))
    assert np.array_equal(dataset.test.pixels, values["x_test"])
    assert [len(dataset.train), len(dataset.validation)] == [32, 8]


def test_load_dataset_repeats_with_its_seed_only(tmp_path: Path) -> None:
    path = write_npz(tmp_path, arrays())
    one, again, other = load(path), load(path), load(path, seed=1)
    assert np.array_equal(one.train.pixels, again.train.pixels)
    assert one.split_digest == again.split_digest != other.split_digest
    assert one.digest == again.digest == other.digest


def test_load_dataset_digest_sees_a_single_pixel(tmp_path: Path) -> None:
    values = arrays()
    before = load(write_npz(tmp_path, values)).digest
    values["x_train"][3, 2, 1] ^= 1
    assert load(write_npz(tmp_path, values)).digest != before


def test_load_dataset_limits_the_search_but_not_the_finalists(tmp_path: Path) -> None:
    path = write_npz(tmp_path, arrays())
    whole, limited = load(path), load(path, train_limit=8, validation_limit=4)
    assert [len(limited.train), len(limited.validation)] == [8, 4]
    assert contents(limited.train) < contents(whole.train)
    assert np.array_equal(limited.test.pixels, whole.test.pixels)
    assert np.array_equal(limited.full_train.pixels, whole.full_train.pixels)


def test_load_dataset_refuses_a_limit_below_the_classes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data.train_limit must be at least 4, .*but got 3\n.*validation_limit"):
        load(write_npz(tmp_path, arrays()), train_limit=3, validation_limit=1)


def test_load_dataset_takes_copies_of_test_images_out_and_lists_them(tmp_path: Path) -> None:
    values = with_test()
    values["x_test"][:3] = values["x_train"][:3]
    dataset = load(write_npz(tmp_path, values))
    assert not contents(dataset.full_train) & contents(dataset.test)
    assert (len(dataset.full_train), len(dataset.test)) == (37, 12)
    listed = " ".join(dataset.warnings)
    assert all(f"x_train[{index}]" in listed for index in range(3))
    assert "also stand in test and were taken out" in listed


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_load_dataset_leaves_no_image_in_two_splits(tmp_path: Path, seed: int) -> None:
    values = arrays(count=80)
    values["x_train"][40:] = values["x_train"][:40]  # every image twice
    dataset = load(write_npz(tmp_path, values), seed=seed)
    parts = [contents(split) for split in (dataset.train, dataset.validation, dataset.test)]
    assert len(set.union(*parts)) == sum(len(part) for part in parts)
    assert not contents(dataset.full_train) & parts[2]
    assert len(dataset.test) == 16


def test_load_dataset_refuses_a_class_of_copies(tmp_path: Path) -> None:
    values = arrays()
    values["x_train"][1::4] = values["x_train"][1]
    with pytest.raises(InputError, match=r"a different image of each class, but got only copies .* for 1"):
        load(write_npz(tmp_path, values))


def test_load_dataset_has_no_warnings_for_clean_data(tmp_path: Path) -> None:
    assert load(write_npz(tmp_path, with_test())).warnings == ()
    assert load_digits().warnings == ()


@pytest.mark.parametrize("source", ["npz", "folder"])
def test_load_dataset_without_a_path_names_both_ways(source: str) -> None:
    with pytest.raises(InputError, match=r"data.path must be the path of .* nothing. Give `--data PATH` .*AUTOML_DATA"):
        load_dataset(source, None, seed=0, validation_share=0.2, test_share=0.2)


def test_load_dataset_refuses_an_unknown_source() -> None:
    with pytest.raises(InputError, match=r"data.source must be one of digits, npz, folder, text, but got 'mnist'"):
        load_dataset("mnist", None, seed=0, validation_share=0.2, test_share=0.2)


def test_join_splits_trains_on_all_but_test(tmp_path: Path) -> None:
    dataset = load(write_npz(tmp_path, arrays()), train_limit=8)
    joined = join_splits(dataset)
    assert len(joined.train) == 32
    assert not contents(joined.train) & contents(joined.test)
    assert joined.digest == dataset.digest


def test_dataset_survives_pickling(tmp_path: Path) -> None:
    dataset = load(write_npz(tmp_path, arrays()))
    copy = pickle.loads(pickle.dumps(dataset))
    assert np.array_equal(copy.test.pixels, dataset.test.pixels)
    assert copy.split_digest == dataset.split_digest
