"""TensorBoard: a folder a trial, with its choices and figures for the HPARAMS page and its learning curve."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from automl.tracking.cards import Card
from automl.tracking.run_folders import complete_runs, mark_complete, remove_runs

_RUN = r"trial-(\d+)"


class TensorBoardRuns:
    """Runs below `folder`; the figures of a trial lie at its number, so that the SCALARS page shows them in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self) -> Mapping[int, str]:
        """Return the candidate hash of every trial that is there whole."""
        return complete_runs(self._folder, _RUN)

    def write(self, card: Card) -> None:
        """Write the trial's folder."""
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        remove_runs(self._folder, _RUN, card.number)
        run = self._folder / card.name
        with SummaryWriter(str(run)) as writer:
            shown = {**card.choices, "state": card.tags["state"]}
            for summary in hparams(shown, dict(card.figures)):  # type: ignore[no-untyped-call]
                writer.file_writer.add_summary(summary)  # what add_hparams does, without a folder below this one
            for name, value in card.figures.items():
                writer.add_scalar(name, value, card.number, card.ended.timestamp())
            for name, step, value in card.points():
                writer.add_scalar(name, value, step, card.ended.timestamp())
            for name, text in card.tags.items():
                writer.add_text(name, text, card.number, card.ended.timestamp())
        mark_complete(run, card.tags["candidate_hash"])

    def close(self) -> None:
        """Do nothing: every run is closed."""
