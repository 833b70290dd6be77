"""Prometheus, scraped over HTTP as it will be."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from automl.errors import InputError
from automl.tracking.metrics import MetricsServer
from tests.tracking.made_up_trials import open_trial, trial


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    server = MetricsServer(0, "digits")
    yield server
    server.close()


def scraped(server: MetricsServer) -> dict[tuple[str, ...], float]:
    """Return each sample by its name and the values of its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        (sample.name, *(value for name, value in sample.labels.items() if name != "study")): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_server_counts_trials_and_their_seconds(server: MetricsServer) -> None:
    for each in (trial(0), trial(1, "infeasible"), trial(2, "failed"), open_trial(3), trial(4, reused_from=0)):
        server.tell(each)
    got = scraped(server)
    states = {key[1]: value for key, value in got.items() if key[0] == "automl_trials_total"}
    assert states == {"measured": 1.0, "infeasible": 1.0, "failed": 1.0, "reused": 1.0}
    assert got["automl_training_seconds_total",] == 3.0
    assert got["automl_lane_seconds_total", "untrained"] == 2.0
    assert got["automl_lane_seconds_total", "trained"] == 2.0
    assert got["automl_reused_seconds_saved_total",] == 7.0


def test_metrics_server_serves_gauges_and_histograms(server: MetricsServer) -> None:
    server.gauge("workers_busy", 3)
    server.observe("ask_seconds", 0.02)
    got = scraped(server)
    assert got["automl_workers_busy",] == 3.0
    assert got["automl_ask_seconds_bucket", "0.03"] == got["automl_ask_seconds_count",] == 1.0
    assert ("automl_queue",) not in got  # nobody has said anything about it


def test_metrics_server_listens_on_loopback_only(server: MetricsServer) -> None:
    addresses = {at.laddr.ip for at in psutil.Process().net_connections() if at.laddr and at.laddr.port == server.port}
    assert addresses == {"127.0.0.1"}


def test_metrics_server_refuses_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            InputError, match=f"metrics_port must be a port that is free, but got {port}, which another"
        ):
            MetricsServer(port, "digits")


def test_metrics_server_closed_gives_its_port_back() -> None:
    server = MetricsServer(0, "digits")
    port = server.port
    server.close()
    again = MetricsServer(port, "digits")
    again.close()
    assert again.port == port
