from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.storage.studies import differences

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=6,
)


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c"]),
        ({"a": None}, {}, ["a"]),
        ({}, {"a": {"b": 1}}, ["a"]),
        ({"a": [1, 2]}, {"a": [2, 1]}, ["a"]),
        ({"a": (1, 2)}, {"a": [1, 2]}, []),  # as they come back from the database
        ({"a": 0}, {"a": False}, []),
    ],
)
def test_differences_names_the_keys(old: Any, new: Any, keys: list[str]) -> None:
    assert [key for key, _, _ in differences(old, new)] == keys


@given(documents, documents)
def test_differences_is_empty_only_for_equal_documents(old: Any, new: Any) -> None:
    assert (not list(differences({"x": old}, {"x": new}))) == (old == new)
