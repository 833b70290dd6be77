"""How the compressed network differs from its twin, on the report's page: class by class, and sample by sample."""

from __future__ import annotations

from automl.views.before_after import change_words
from automl.views.difference import ClassChange, Difference, Disagreement
from automl.views.document import safe, table
from automl.views.wording import DASH


def difference_section(found: Difference | str) -> list[str]:
    """Return the section, or why there is none."""
    title = "<h2>How the compressed network differs from its twin</h2>"
    if isinstance(found, str):
        return [title, f'<p class="lead">{safe(found)}</p>']
    parts = [title, f'<p class="lead">{safe(_agreement_words(found))}</p>', "<h3>Class by class</h3>", _classes(found)]
    if found.samples:
        parts += [f"<h3>{safe(_samples_title(found))}</h3>", _samples(found)]
    return parts


def _agreement_words(found: Difference) -> str:
    differing = found.total - found.agreeing
    return (
        f"Both files ran on the {found.total} samples of the {found.split} set, in the runtimes that serve them: the "
        f"same answer to {found.agreeing} ({found.agreeing / found.total:.1%}), different ones to {differing}. "
        f"{found.only_twin} are answered right by the twin alone, {found.only_model} by the compressed file alone."
    )


def _classes(found: Difference) -> str:
    heads = [("Class", ""), *((name, "number") for name in ("Samples", "Twin", "Compressed", "Change"))]
    ordered = sorted(found.classes, key=lambda one: one.model - one.twin)
    return table(heads, [_class_row(one) for one in ordered])


def _class_row(one: ClassChange) -> list[tuple[str, str]]:
    change = change_words("accuracy", one.model, one.twin)
    kind = "number worse" if one.model < one.twin else "number better" if one.model > one.twin else "number small"
    figures = (str(one.samples), f"{one.twin:.1%}", f"{one.model:.1%}")
    shown = safe(change) if one.model != one.twin else DASH
    return [(safe(one.name), ""), *((figure, "number") for figure in figures), (shown, kind)]


def _samples_title(found: Difference) -> str:
    differing = found.total - found.agreeing
    if differing == len(found.samples):
        return "Samples where they disagree"
    return f"Samples where they disagree: the first {len(found.samples)} of {differing}"


def _samples(found: Difference) -> str:
    texts = any(one.text for one in found.samples)
    return f'<div class="samples{" texts" if texts else ""}">{"".join(_sample(one) for one in found.samples)}</div>'


def _sample(one: Disagreement) -> str:
    shown = f'<img alt="sample {one.index}" src="{one.picture}">' if one.picture else f"<p>{safe(one.text)}</p>"
    answers = [_answer(who, said, one.label) for who, said in (("twin", one.twin), ("compressed", one.model))]
    return f'<div class="sample">{shown}<b>{safe(one.label)}</b>{"".join(answers)}</div>'


def _answer(who: str, said: str, label: str) -> str:
    kind = "right" if said == label else "wrong"
    return f'<br><span class="said">{who}:</span> <span class="{kind}">{safe(said)}</span>'
