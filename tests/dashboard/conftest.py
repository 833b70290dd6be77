"""A storage with a study, and the whole door served on a free loopback port."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from automl.search.mirror import Mirror
from automl.space import Dimension, SearchSpace
from automl.storage import Store, open_store
from dashboard.wiring import address_of, build_server
from tests.fake_study import OBJECTIVES, record_study

SPACE = SearchSpace("fake", (Dimension("width", "architecture", (16, 32), ordered=True),), lambda _: None)  # type: ignore[arg-type,return-value]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    with open_store(f"sqlite:///{folder}/fake.db") as store:
        record_study(store, "fake", 12)
        Mirror(store.url, "fake", SPACE, OBJECTIVES, store.trials(1)).close()
        yield store


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    server = build_server(store, "127.0.0.1", 0, every_ms=200)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield address_of(server)
    server.shutdown()
    thread.join()
    server.server_close()
