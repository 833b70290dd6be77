"""A fixed recipe as a study of one point: what `--set KEY=VALUE` says, laid over a study file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from automl.commands.joining import Joined, enqueued, has_foreign_space, join
from automl.errors import Fault, InputError, input_error

if TYPE_CHECKING:
    from automl.space import Choice, Point
    from automl.study_spec import StudySpec

PRUNE, BITS = "prune_", "bits_"
GENOTYPE, DEFAULT_CELLS = "genotype", "residual"
NO_TEACHER: Mapping[str, Any] = {
    "teacher.source": "none", "distillation.alphas": [1.0], "distillation.temperatures": [1.0],
    "distillation.methods": ["response"],
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A study narrowed to one candidate: `point` is the only one that it evaluates."""

    joined: Joined
    point: Point


def parse_choices(texts: Sequence[str]) -> dict[str, Choice]:
    """Return what `--set KEY=VALUE` options say.

    Raises:
        InputError: naming every one that is not of that form, is no single value, or is a ratio out of range.
    """
    from automl.study_spec import parse_override

    choices: dict[str, Choice] = {}
    faults: list[Fault] = []
    for text in texts:
        try:
            key, value = parse_override(text)
        except InputError as error:
            faults.extend(Fault(f"--set {text}", fault.expected, fault.got) for fault in error.faults)
            continue
        choices[key] = value
        faults.extend(_value_faults(key, value))
    if faults:
        raise InputError(faults)
    return choices


def _value_faults(key: str, value: Any) -> list[Fault]:
    where = f"--set {key}"
    if not isinstance(value, int | float | str):
        return [Fault(where, "a number or a word", repr(value))]
    is_ratio = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    if key.startswith(PRUNE) and not is_ratio:
        return [Fault(where, "a ratio of at least 0 and below 1: a ratio of 1 would leave no channel", repr(value))]
    return []


def make_recipe(document: Mapping[str, Any], choices: Mapping[str, Choice]) -> Recipe:
    """Return the recipe of a study and of choices that are laid over it.

    What is not chosen is plain: unpruned, in floating point, without a teacher, in the widest and deepest network of
    the space with known cells, and the middle of each training range.

    Args:
        document: the resolved study as plain values.
        choices: of dimensions (`prune_0`, `bits_*`, `alpha`), of methods (`criterion`, `calibration`), of `genotype`.

    Raises:
        InputError: where a key or a value is unknown, methods do not combine, or the study leaves more than one point.
    """
    spec = _parsed(_laid_over(document, choices))
    joined = join(spec)
    entry = _entry(joined, choices)
    if entry is None:
        return _only_point(joined)
    known = _known_keys(joined)
    faults = [fault for key, value in entry.items() for fault in _choice_faults(joined, key, value, known)]
    if faults:
        raise InputError(faults)
    joined = queued(joined, entry)
    try:
        (point,) = enqueued(joined)
    except InputError as error:
        raise InputError(replace(fault, where=f"--set ({fault.where})") for fault in error.faults) from error
    return Recipe(joined, point)


def queued(joined: Joined, entry: str | Mapping[str, Choice]) -> Joined:
    """Return the study with this entry alone in its queue."""
    search = joined.spec.search.model_copy(update={"enqueue": (entry,)})
    return replace(joined, spec=joined.spec.model_copy(update={"search": search}))


def _parsed(document: Mapping[str, Any]) -> StudySpec:
    from automl.study_spec import parse_study_spec

    return parse_study_spec(document, "compress")


def _laid_over(document: Mapping[str, Any], choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Return the study with one trial, one finalist and the methods, ratios and teaching that are chosen."""
    from search_spaces.compression import SETTINGS

    changes: dict[str, Any] = {
        "budget": {"trials": 1}, "finalists.count": 1, "search.enqueue": [], "search.method": "random",
    }  # fmt: skip
    for name, (section, key, _, _) in SETTINGS.items():
        if name in choices:
            changes[f"{section}.{key}"] = [choices[name]]
    ratios = {float(value) for key, value in choices.items() if key.startswith(PRUNE)}
    if ratios:
        changes["pruning.ratios"] = sorted({0.0, *document["pruning"]["ratios"], *ratios})
    changes |= _teaching(document, choices)
    laid = {key: dict(value) if isinstance(value, Mapping) else value for key, value in document.items()}
    for dotted, value in changes.items():
        section, _, key = dotted.partition(".")
        if key:
            laid[section][key] = value
        else:
            laid[section] = value
    return laid


def _teaching(document: Mapping[str, Any], choices: Mapping[str, Choice]) -> dict[str, Any]:
    """Return the changes to how the network is taught: by nobody, unless `alpha` or the study's only one says so."""
    alphas = [choices["alpha"]] if "alpha" in choices else list(document["distillation"]["alphas"])
    if len(alphas) > 1 or alphas == [1.0]:
        return dict(NO_TEACHER)
    changes: dict[str, Any] = {"distillation.alphas": alphas}
    if choices.get("distillation_method") == "self":
        changes["teacher.source"] = "none"
    if "temperature" in choices:
        changes["distillation.temperatures"] = [choices["temperature"]]
    return changes


def _entry(joined: Joined, choices: Mapping[str, Choice]) -> dict[str, Choice] | None:
    """Return the recipe as an entry of `search.enqueue`; None where the space has no more than one point anyway."""
    from search_spaces.compression import SETTINGS

    known = set(joined.space.names())
    said = {key: value for key, value in choices.items() if key not in SETTINGS or key in known}
    if not choices or (not said and joined.space.size() == 1):
        return None
    cells = {GENOTYPE: DEFAULT_CELLS} if _has_our_cells(joined) else {}
    return {**cells, **said}


def _only_point(joined: Joined) -> Recipe:
    """Return the one point of the space.

    Raises:
        InputError: where there are more.
    """
    space = joined.space
    open_names = [one.name for one in space.dimensions if len(one.choices) > 1]
    if open_names:
        shown = ", ".join(open_names[:6]) + (f" and {len(open_names) - 6} more" if len(open_names) > 6 else "")
        remedy = "Say it by --set, such as --set 'prune_*=0.5' --set 'bits_*=w8a8', or narrow it by space.fix."
        expected = "one recipe: a space of one point, or choices"
        raise input_error(f"compress {joined.spec.name}", expected, f"a choice of {shown}", remedy)
    return Recipe(joined, {one.name: 0 for one in space.dimensions})


def _known_keys(joined: Joined) -> tuple[str, ...]:
    from search_spaces.compression import SETTINGS

    cells = (GENOTYPE,) if _has_our_cells(joined) else ()
    return (*cells, *joined.space.names(), *(name for name in SETTINGS if name not in joined.space.names()))


def _has_our_cells(joined: Joined) -> bool:
    """Tell whether named cells mean something: not to a user's own model, nor to a space of a plugin."""
    return joined.spec.model is None and not has_foreign_space(joined.spec)


def _choice_faults(joined: Joined, key: str, value: Choice, known: Sequence[str]) -> list[Fault]:
    """Return what is wrong with one choice."""
    if key == GENOTYPE and GENOTYPE in known:
        return []  # its own error names the cells there are
    matches = [
        one for one in joined.space.dimensions if one.name == key or (key[-1:] == "*" and one.name.startswith(key[:-1]))
    ]
    if not matches:
        shown = [name for name in known if not name.startswith(("normal_", "reduction_"))]
        return [Fault(f"--set {key}", f"one of {', '.join(shown)}", "an unknown name")]
    wrong = [one for one in matches if value not in one.choices]
    return [Fault(f"--set {key}", f"one of {', '.join(map(str, one.choices))}", repr(value)) for one in wrong[:1]]
