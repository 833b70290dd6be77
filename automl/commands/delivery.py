"""What a finished search leaves in its folder: the picture of its front, and a bundle that was verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from automl.commands.bundles import bundle_source, check_bundle, describe_bundle
from automl.commands.joining import study_folder

if TYPE_CHECKING:
    from automl.search.study_run import Summary
    from automl.storage import FinalistRecord, Store, TrialRecord
    from automl.views.facts import StudyFacts

PAGE = "front.html"
BUNDLE = "bundle"


@dataclass(frozen=True)
class Delivery:
    """Where the picture and the bundle lie, what the bundle is, and whether it holds what it says."""

    page: Path
    bundle: Path
    network: str
    verified: bool


def deliver(store: Store, summary: Summary, facts: StudyFacts, storage: str | None) -> Delivery:
    """Write the picture, export the network to deploy and verify it; a second call replaces the first one's files.

    The network is the finalist that compression sped up most among the accurate, or the best compromise where none
    is: the same choice whose uncompressed twin was trained beside it.

    Raises:
        InputError: where the data of the study cannot be read any more.
    """
    from automl.export.bundle import write_bundle
    from automl.views.page import front_page

    folder = study_folder(storage, summary.study.name)
    page, bundle = folder / PAGE, folder / BUNDLE
    page.write_text(front_page(facts), encoding="utf-8")
    number = deployed_number(summary.front, summary.finalists)
    source = bundle_source(store, summary.study, number, True, storage)
    manifest = write_bundle(bundle, source)
    return Delivery(page, bundle, describe_bundle(manifest), check_bundle(bundle, None).passed)


def deployed_number(front: Sequence[TrialRecord], finalists: Sequence[FinalistRecord]) -> int:
    """Return the trial to deploy: one that was retrained, where there is any.

    Raises:
        InputError: where the front is empty.
    """
    from automl.search.finalists import choose_twin
    from automl.search.front import choose

    retrained = {finalist.trial for finalist in finalists if finalist.role == "finalist"}
    pool = [trial for trial in front if trial.number in retrained]
    compressed = choose_twin(pool)
    return (choose(pool if pool else front, "knee") if compressed is None else compressed).number
