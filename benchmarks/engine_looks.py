"""What a long study takes to go on and to be looked at: resuming, memory, status, front and the live page."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from engine_study import NAME, joined, url_of

from automl.search.executor import Executor
from automl.search.progress import Progress
from automl.storage import open_store

MORE_TRIALS = 5


def resume(folder: Path, recorded: int, began: float) -> dict[str, float]:
    """Go on with a study of so many trials as `automl search` does, in this process.

    Args:
        folder: of the benchmark.
        recorded: how many trials there are.
        began: when the process was started, in seconds since the epoch.

    Returns:
        The seconds from the start to the first new trial without those of Ray's start, those of Ray's start, and the
        driver's memory in MB: the most that it held (RSS), and what is its own at the end (USS).
    """
    from automl.search.study_run import open_pool, run_study

    study = joined(folder, recorded + MORE_TRIALS)
    clock: dict[str, float] = {}

    def timed_pool(of: Any) -> Executor:
        started = time.time()
        pool = open_pool(of)
        clock["ray"] = time.time() - started
        return pool

    def on_progress(now: Progress) -> None:
        if now.phase == "search" and now.trials > recorded:
            clock.setdefault("first", time.time())
        if now.phase == "finalists":
            own = psutil.Process().memory_full_info()
            clock["uss"], clock["rss"] = own.uss / 1e6, own.rss / 1e6
            raise KeyboardInterrupt

    with open_store(url_of(folder, recorded)) as store:
        run_study(
            study.spec, study.space, study.target, store, folder / "runs", on_progress, open_executor=timed_pool
        )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {
        "first_trial_s": clock["first"] - began - clock["ray"],
        "ray_s": clock["ray"],
        "peak_rss_mb": peak,
        "rss_mb": clock["rss"],
        "uss_mb": clock["uss"],
    }


def command_seconds(folder: Path, recorded: int) -> dict[str, float]:
    """Return the seconds of whole commands, and of one that only starts the interpreter and the command line."""
    storage = ["--storage", url_of(folder, recorded)]
    commands = {"start": ["--help"], "status": ["status", *storage], "front": ["front", NAME, *storage]}
    return {name: best_of(3, [sys.executable, "-m", "automl", *words]) for name, words in commands.items()}


def best_of(times: int, command: list[str]) -> float:
    """Return the shortest of several runs: the first one reads files into memory."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - started)
    return min(found)


def page_seconds(folder: Path, recorded: int) -> dict[str, float]:
    """Return the seconds of the live page's answers (the first, nothing changed, something changed), and the size."""
    from dashboard.pages import build_pages

    with open_store(url_of(folder, recorded)) as store:
        client = build_pages(store).server.test_client()
        asked = update_request(client.get("/_dash-dependencies").get_json())
        first, answer = timed_answer(client, asked)
        asked["state"][0]["value"] = answer["response"]["revision"]["data"]
        unchanged, _ = timed_answer(client, asked)
        asked["state"][0]["value"] = "of before"
        changed, _ = timed_answer(client, asked)
    return {
        "first_s": first,
        "unchanged_s": unchanged,
        "changed_s": changed,
        "answer_mb": len(json.dumps(answer)) / 1e6,
    }


def update_request(callbacks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a browser posts when the page's clock ticks."""
    wanted = next(one for one in callbacks if "front.figure" in one["output"] and one["clientside_function"] is None)
    outputs = [part.rsplit(".", 1) for part in wanted["output"].strip(".").split("...")]
    return {
        "output": wanted["output"],
        "outputs": [{"id": name, "property": kind} for name, kind in outputs],
        "inputs": [{**one, "value": None} for one in wanted["inputs"]],
        "state": [{**one, "value": None} for one in wanted["state"]],
        "changedPropIds": ["tick.n_intervals"],
    }


def timed_answer(client: Any, asked: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Return the seconds of an answer and the answer."""
    started = time.perf_counter()
    answer = client.post("/_dash-update-component", json=asked)
    seconds = time.perf_counter() - started
    assert answer.status_code == 200, answer.text[:500]
    return seconds, answer.get_json()
