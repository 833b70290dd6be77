"""A candidate's three stages as a drawing the size of a word: how wide, how much of it is kept, in which bits."""

from __future__ import annotations

from automl.candidate import Candidate
from automl.export.methods import stage_summaries
from automl.views.wording import pair_words

HEIGHT, BAR, GAP = 34.0, 20.0, 6.0
PAIR_COLOURS = {"fp32": "#4c86e0", "int8": "#e8912d"}
OTHER_PAIR = "#d0557a"  # most often weights alone in fewer bits
BITS_WORDS = "Stages: one bar each, its outline the width in channels, its filling what is kept of it."


def pair_colour(pair: tuple[int, int]) -> str:
    """Return the colour of a pair of weight and activation bits."""
    return PAIR_COLOURS.get(pair_words(pair), OTHER_PAIR)


def bits_key() -> dict[str, str]:
    """Return what each colour of a drawing means."""
    return {**PAIR_COLOURS, "other bits": OTHER_PAIR}


def stage_glyph(candidate: Candidate, widest: int) -> str:
    """Return an SVG of one bar a stage: its outline is the unpruned width, its filling what is kept.

    `widest` is the width in channels that gets the full height, the same for all drawings that stand together.
    """
    stages = stage_summaries(candidate)
    bars = [_bar(at, stage.full / widest, stage.kept / widest, stage.pair) for at, stage in enumerate(stages)]
    across = len(stages) * (BAR + GAP) - GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across:g}" height="{HEIGHT:g}" role="img">'
        f"{''.join(bars)}</svg>"
    )


def _bar(index: int, full: float, kept: float, pair: tuple[int, int]) -> str:
    left, colour = index * (BAR + GAP), pair_colour(pair)
    tall, solid = max(full * (HEIGHT - 2), 3.0), max(kept * (HEIGHT - 2), 2.0)
    return (
        f'<rect x="{left + 0.5:g}" y="{HEIGHT - 0.5 - tall:.1f}" width="{BAR - 1:g}" height="{tall:.1f}" rx="2" '
        f'fill="{colour}" fill-opacity=".12" stroke="{colour}" stroke-opacity=".55"/>'
        f'<rect x="{left:g}" y="{HEIGHT - solid:.1f}" width="{BAR:g}" height="{solid:.1f}" rx="2" fill="{colour}"/>'
    )
