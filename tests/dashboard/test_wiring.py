"""The door: what it lets through, to whom, and what it says."""

from __future__ import annotations

import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest

from automl.errors import InputError
from automl.storage import Store
from dashboard.wiring import build_server, host_name, is_loopback


def ask(address: str, method: str, path: str, host: str | None = None) -> tuple[int, dict[str, str], str]:
    """Return (status, headers, body) of one request, with any Host header."""
    where = urlsplit(address)
    assert where.hostname is not None
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_application_serves_our_page_at_the_root(address: str) -> None:
    status, headers, body = ask(address, "GET", "/")
    assert status == 200
    assert "_dash-" in body
    assert "default-src 'self'" in headers["Content-Security-Policy"]


def test_application_serves_scripts_from_here(address: str) -> None:
    _, _, body = ask(address, "GET", "/")
    assert 'src="/_dash-component-suites/' in body
    assert 'src="http' not in body
    assert 'href="http' not in body


def test_application_redirects_optuna_to_its_own_path(address: str) -> None:
    status, headers, _ = ask(address, "GET", "/optuna")
    assert (status, headers["Location"]) == (302, "/dashboard")


@pytest.mark.parametrize("path", ["/dashboard", "/dashboard/studies/1", "/static/bundle.js"])
def test_application_forwards_optuna_pages(address: str, path: str) -> None:
    assert ask(address, "HEAD", path)[0] == 200


def test_application_shows_what_is_mirrored(address: str) -> None:
    studies = json.loads(ask(address, "GET", "/api/studies")[2])["study_summaries"]
    assert [study["study_name"] for study in studies] == ["fake"]
    trials = json.loads(ask(address, "GET", "/api/studies/1")[2])["trials"]
    attributes = {attribute["key"] for trial in trials for attribute in trial["user_attrs"]}
    assert {"weight_bits", "activation_bits", "pruning_ratios", "temperature", "latency_kind"} <= attributes


@pytest.mark.parametrize("method", ["DELETE", "POST", "PUT", "PATCH"])
def test_application_lets_nobody_change_a_study(address: str, method: str) -> None:
    status, headers, _ = ask(address, method, "/api/studies/1")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert ask(address, "GET", "/api/studies/1")[0] == 200


@pytest.mark.parametrize("path", ["/", "/dashboard", "/api/studies", "/_dash-layout"])
def test_application_refuses_a_strangers_name(address: str, path: str) -> None:
    assert ask(address, "GET", path, host="evil.example:80")[0] == 403


@pytest.mark.parametrize("host", ["localhost:9", "127.0.0.1", "[::1]:8080", "LOCALHOST"])
def test_application_answers_to_loopback_names(address: str, host: str) -> None:
    assert ask(address, "GET", "/_dash-layout", host=host)[0] == 200


def test_build_server_refuses_an_address_of_the_network(store: Store) -> None:
    with pytest.raises(InputError, match=r"--host must be a loopback address, but got 0\.0\.0\.0.*ssh -L"):
        build_server(store, "0.0.0.0", 0)


def test_build_server_says_when_a_port_is_taken(store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"--port must be a free port, but got {port}"):
            build_server(store, "127.0.0.1", port)


@pytest.mark.parametrize(
    ("header", "name", "loopback"),
    [
        ("localhost:80", "localhost", True),
        ("[::1]:80", "::1", True),
        ("127.0.0.53", "127.0.0.53", True),
        ("localhost.evil.example", "localhost.evil.example", False),
        ("10.0.0.1:80", "10.0.0.1", False),
        ("", "", False),
    ],
)
def test_is_loopback_of_a_host_header(header: str, name: str, loopback: bool) -> None:
    assert host_name(header) == name
    assert is_loopback(name) is loopback
