"""The menu of distillation: what each method is, what it needs of a teacher, and what a study must not ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from automl.errors import Fault


@dataclass(frozen=True)
class Method:
    """A way to be taught. `needs_stages`: of the teacher's stages, which a teacher known as a file does not show."""

    paper: str
    needs_teacher: bool
    needs_stages: bool


METHODS: Mapping[str, Method] = {
    "response": Method('Hinton et al., "Distilling the Knowledge in a Neural Network" (2015)', True, False),
    "feature": Method('Romero et al., "FitNets: Hints for Thin Deep Nets" (2015)', True, True),
    "relation": Method('Park et al., "Relational Knowledge Distillation" (2019)', True, True),
    "self": Method('Yuan et al., "Revisiting Knowledge Distillation via Label Smoothing" (2020)', False, False),
}
NO_TEACHER = "none"
FROM_SPACE = "space"


def teaching_faults(
    methods: Iterable[str],
    alphas: Iterable[float],
    *,
    source: str,
    others: int = 0,
    assistant: bool = False,
    unlabelled: bool = False,
    data: str = "real",
) -> list[Fault]:
    """Return what cannot be taught as a study asks for it; to be called before any training.

    Args:
        methods: of `distillation.methods`.
        alphas: of `distillation.alphas`.
        source: of `teacher.source`: "none", "space", or the path of a file or bundle.
        others: how many teachers there are beside it.
        assistant: whether an assistant is asked for.
        unlabelled: whether images without labels are given.
        data: "real", "inverted" or "generated".
    """
    chosen = list(methods)
    faults = [
        Fault("distillation.methods", f"of {', '.join(METHODS)}", repr(name)) for name in chosen if name not in METHODS
    ]
    known = {name: METHODS[name] for name in chosen if name in METHODS}
    taught = any(alpha < 1 for alpha in alphas)
    if source == NO_TEACHER:
        faults += _without_teacher(known if taught else {}, others, assistant, unlabelled, data)
    elif source != FROM_SPACE:
        faults += _with_file(known, source, assistant)
    if unlabelled and not taught:
        faults.append(_idle("distillation.unlabelled"))
    if data != "real" and not taught:
        faults.append(_idle("distillation.data"))
    return faults


def _without_teacher(
    known: Mapping[str, Method], others: int, assistant: bool, unlabelled: bool, data: str
) -> list[Fault]:
    """Return a fault for each thing that only a teacher can do."""
    needy = [name for name, method in known.items() if method.needs_teacher]
    asked = {
        "distillation.methods": "self, which needs no teacher, or with alphas [1.0]" if needy else "",
        "teacher.others": "empty" if others else "",
        "teacher.assistant": "false" if assistant else "",
        "distillation.unlabelled": "null" if unlabelled else "",
        "distillation.data": "real" if data != "real" else "",
    }
    remedy = "Name a teacher: teacher.source is space, or the path of a bundle."
    got = {"distillation.methods": ", ".join(needy)}
    return [
        Fault(where, f"{expected} where teacher.source is none", got.get(where, "what only a teacher can do"), remedy)
        for where, expected in asked.items()
        if expected
    ]


def _with_file(known: Mapping[str, Method], source: str, assistant: bool) -> list[Fault]:
    """Return what a teacher cannot give of which only the file's answers are known."""
    needy = [name for name, method in known.items() if method.needs_stages]
    faults = []
    if needy:
        expected = f"response or self with the teacher {source}, a file that shows its answers and not its stages"
        remedy = "Write teacher.source: space, or leave these methods out."
        faults.append(Fault("distillation.methods", expected, ", ".join(needy), remedy))
    if assistant:
        expected = f"false with the teacher {source}, a file that has no smaller relative in the space"
        faults.append(Fault("teacher.assistant", expected, "true", "Write teacher.source: space, or assistant: false."))
    return faults


def _idle(where: str) -> Fault:
    remedy = "Add an alpha below 1, or leave it out."
    return Fault(where, "left out where every alpha is 1 and no teacher speaks", "given", remedy)
