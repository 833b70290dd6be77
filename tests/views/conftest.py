"""One recorded study for all tests of views."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from automl.storage import Store, open_store
from automl.views.facts import StudyFacts, study_facts
from tests.fake_study import DEVICE, OBJECTIVES, record_study


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(f"sqlite:///{tmp_path_factory.mktemp('views')}/fake.db") as store:
        record_study(store, "fake", 40)
        record_study(store, "other", 20, seed=4)
        store.create_study("empty", {}, "digest", 0, {}, DEVICE, OBJECTIVES)
        yield store


@pytest.fixture(scope="session")
def facts(store: Store) -> StudyFacts:
    return study_facts(store, "fake")
