"""Weights & Biases, offline: a project a study and a run a trial; `wandb sync` sends them where the user wants.

A service of theirs writes the files, some time after a run is finished: only a file at rest makes a run whole.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from automl.tracking.cards import Card
from automl.tracking.run_folders import complete_runs, mark_complete, remove_runs

QUIET_S = 0.5  # without a write, then a file is at rest
SETTLE_S = 15.0  # what is not at rest by then is written again at the next start
_HEADER_BYTES = 7


class WandbRuns:
    """Runs below `folder / wandb`. A trial's run has one identity for ever: sent twice, it is still one run."""

    def __init__(self, folder: Path, study: str) -> None:
        self._folder, self._study = folder.resolve(), study
        self._finished: dict[Path, str] = {}  # folders whose files may not be at rest yet, with the candidate hash
        self._pattern = rf"offline-run-\d+_\d+-{re.escape(study)}-(\d+)"

    def known(self) -> Mapping[int, str]:
        """Return the candidate hash of every trial that is there whole."""
        return complete_runs(self._folder / "wandb", self._pattern)

    def write(self, card: Card) -> None:
        """Write the trial's run."""
        import wandb

        for folder in remove_runs(self._folder / "wandb", self._pattern, card.number):
            self._finished.pop(folder, None)
        quiet = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True, x_disable_meta=True
        )
        run = wandb.init(
            project=self._study,
            id=f"{self._study}-{card.number}",
            name=card.name,
            config=dict(card.choices),
            dir=str(self._folder),
            mode="offline",
            reinit="create_new",  # the user's own run in this process goes on
            settings=quiet,
        )
        for step in range(len(card.curve)):
            run.log({name: value for name, at, value in card.points() if at == step}, step=step)
        run.summary.update({**card.figures, **card.tags, "number": card.number})
        folder = Path(run.dir).resolve().parent
        run.finish()
        self._finished[folder] = card.tags["candidate_hash"]
        self._mark_settled()

    def close(self) -> None:
        """Wait for the files to be written."""
        until = time.monotonic() + SETTLE_S
        while self._finished and time.monotonic() < until:
            time.sleep(QUIET_S / 5)
            self._mark_settled()

    def _mark_settled(self) -> None:
        for folder, candidate_hash in list(self._finished.items()):
            if _is_at_rest(folder):
                mark_complete(folder, candidate_hash)
                del self._finished[folder]


def _is_at_rest(folder: Path) -> bool:
    stats = [path.stat() for path in folder.glob("*.wandb")]
    return any(stat.st_size > _HEADER_BYTES and time.time() - stat.st_mtime > QUIET_S for stat in stats)
