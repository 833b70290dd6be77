"""One loopback server: our page and optuna-dashboard behind the same door, which lets only reading through.

optuna-dashboard knows no prefix and no login, and can delete studies: it gets its own paths, and GET and HEAD only.
A page of a stranger could reach a loopback port under a name of its own (DNS rebinding), so the Host header must be a
loopback one.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from automl.errors import input_error
from automl.storage import Store, open_store
from dashboard.pages import EVERY_MS, build_pages

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DEFAULT_PORT = 8765
OPTUNA_PATHS = ("/dashboard", "/api", "/static")
READING = ("GET", "HEAD")
# Nothing may be loaded from elsewhere. Dash writes its configuration inline; Plotly compiles and draws with data URLs.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", POLICY),
)


def serve(
    storage_url: str | None = None,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the pages of a storage until interrupted; `on_ready` is told the address once it answers.

    Raises:
        InputError: where `host` is not a loopback address, or `port` is taken.
        StorageError: where the storage cannot be used.
    """
    with open_store(storage_url) as store:
        server = build_server(store, host, port)
        try:
            if on_ready is not None:
                on_ready(address_of(server))
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.server_close()


def build_server(store: Store, host: str, port: int, every_ms: int = EVERY_MS) -> BaseWSGIServer:
    """Return a server that is bound and not yet serving; port 0 takes a free one.

    Raises:
        InputError: where `host` is not a loopback address, or `port` is taken.
    """
    if not is_loopback(host):
        raise input_error(
            "--host", "a loopback address", host, "Reach it from elsewhere with: ssh -L PORT:localhost:PORT"
        )
    try:
        return make_server(host, port, build_app(store, every_ms), threaded=True, request_handler=QuietHandler)
    except (OSError, SystemExit) as error:
        raise input_error("--port", "a free port", port, "Choose another one, or 0 for any.") from error


def build_app(store: Store, every_ms: int = EVERY_MS) -> WSGIApplication:
    """Return the whole door as one WSGI application."""
    pages: WSGIApplication = build_pages(store, every_ms).server
    optuna = OptunaPages(store.url)

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", "/"), environ["REQUEST_METHOD"]
        if not is_loopback(host_name(environ.get("HTTP_HOST", ""))):
            return _answer(start_response, "403 Forbidden", "This server answers to loopback names only.")
        if path.rstrip("/") == "/optuna":
            return _answer(start_response, "302 Found", "See /dashboard.", [("Location", "/dashboard")])
        if not any(path == prefix or path.startswith(f"{prefix}/") for prefix in OPTUNA_PATHS):
            return pages(environ, _guarded(start_response))
        if method not in READING:
            return _answer(start_response, "405 Method Not Allowed", "Reading only.", [("Allow", "GET, HEAD")])
        return optuna(environ, _guarded(start_response))

    return application


class OptunaPages:
    """optuna-dashboard on the storage, loaded when first asked for: it takes seconds, and makes Optuna's tables."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._application: WSGIApplication | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        return self._loaded()(environ, start_response)

    def _loaded(self) -> WSGIApplication:
        with self._lock:
            if self._application is None:
                from optuna_dashboard import wsgi

                from automl.search.mirror import mirror_storage

                self._application = wsgi(mirror_storage(self._url))
            return self._application


class QuietHandler(WSGIRequestHandler):
    """Serves without a line for each request: an open page asks every two seconds."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


def address_of(server: BaseWSGIServer) -> str:
    """Return the address that a browser opens."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"http://{host}:{server.port}/"


def host_name(header: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    return header[1:].partition("]")[0] if header.startswith("[") else header.partition(":")[0]


def is_loopback(name: str) -> bool:
    """Tell whether a host's name or address can only mean this machine."""
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _guarded(start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
        given = {name.lower() for name, _ in headers}
        return start_response(status, headers + [pair for pair in HEADERS if pair[0].lower() not in given], *rest)

    return start


def _answer(
    start_response: StartResponse, status: str, text: str, headers: Iterable[tuple[str, str]] = ()
) -> Iterable[bytes]:
    body = text.encode()
    start_response(
        status,
        [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers, *HEADERS],
    )
    return [body]
