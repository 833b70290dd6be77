from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from automl.candidate import Candidate, Cell, Edge, PruningPlan, UserModel, candidate_from_json, candidate_to_json
from automl.storage.documents import Documents
from tests.storage.sample_outcomes import candidate

names = st.sampled_from(["sep_conv_3x3", "none", 'odd "name"', "}, {", "[[1, 2]]", "\\", "\u2603"])
edges = st.builds(Edge, names, st.integers(0, 5))
cells = st.builds(
    Cell,
    st.lists(st.tuples(edges, edges), max_size=4).map(tuple),
    st.lists(st.integers(2, 9), max_size=4).map(tuple),
)
prunings = st.builds(PruningPlan, st.lists(st.integers(1, 99), max_size=4).map(tuple), names, dropped=st.tuples(names))


def text_of(candidate: Candidate) -> str:
    return json.dumps(candidate_to_json(candidate))


@given(normal=cells, reduction=cells, pruning=prunings, runtime=st.sampled_from(["onnxruntime", "openvino"]))
def test_candidate_is_read_as_it_was_written(normal: Cell, reduction: Cell, pruning: PruningPlan, runtime: str) -> None:
    one = candidate(1)
    genotype = replace(one.genotype, normal=normal, reduction=reduction)
    written = replace(one, genotype=genotype, pruning=pruning, runtime=runtime)
    documents = Documents()
    assert documents.candidate(text_of(written)) == written
    assert documents.candidate(text_of(written)) == written  # from what the first reading learnt


@pytest.mark.parametrize("spaces", [None, (",", ":")])
def test_candidate_is_read_however_it_is_spaced(spaces: tuple[str, str] | None) -> None:
    value = candidate_to_json(candidate(1))
    assert Documents().candidate(json.dumps(value, separators=spaces)) == candidate_from_json(value)


def test_candidate_of_a_users_model_is_read() -> None:
    model = UserModel("mine", "0" * 16, ("a.{b}", 'c", "normal": {'), (8, 16), (0, 1), 2)
    written = replace(candidate(1), genotype=model, pruning=PruningPlan((8, 16)))
    assert Documents().candidate(text_of(written)) == written


def test_candidates_share_their_parts() -> None:
    documents = Documents()
    first, second = (documents.candidate(text_of(candidate(number))) for number in (1, 2))
    assert first != second
    assert first.genotype.normal is second.genotype.normal
    assert first.quantization is second.quantization


def test_mapping_shares_its_keys() -> None:
    documents = Documents()
    first, second = (documents.mapping('{"a long name": 1, "b": [2]}') for _ in range(2))
    assert first == second == {"a long name": 1, "b": [2]}
    assert all(one is other for one, other in zip(first, second, strict=True))
