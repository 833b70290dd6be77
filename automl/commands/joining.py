"""What every command starts from: a study, its target, its space and a store. The only place that names spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from automl.errors import Fault, InputError, input_error

if TYPE_CHECKING:
    from automl.candidate import UserModel
    from automl.combinations import TargetFacts
    from automl.space import Point, SearchSpace
    from automl.storage import Store, StudyRecord
    from automl.study_spec import StudySpec
    from automl.targets import Format, Target

RUNS = Path("runs")
PLAIN_PAIR = "w32a32"  # every study has floating point: that of its twins


@dataclass(frozen=True)
class Joined:
    """A study with its opened target and the space that its target leaves."""

    spec: StudySpec
    target: Target
    space: SearchSpace


def load_spec(spec: str, overrides: Mapping[str, Any]) -> StudySpec:
    """Return the study; overrides that are None are not given.

    Raises:
        InputError: naming every fault.
    """
    from automl.study_spec import load_study_spec

    return load_study_spec(spec, {key: value for key, value in overrides.items() if value is not None})


def join(spec: StudySpec) -> Joined:
    """Return the study with its target and space.

    Raises:
        InputError: where a plugin cannot be used, the target is unknown or absent, or the space does not suit it.
    """
    from search_spaces.joint import space_from_spec
    from search_spaces.user_model import user_space_from_spec

    _check_parts(spec)
    _check_teaching(spec)
    target = open_study_target(spec)
    facts = _target_facts(target, spec)
    formats = sorted({(weight, activation) for _, weight, activation in facts.formats})
    if has_foreign_space(spec):
        return Joined(spec, target, _foreign_space(spec, formats, facts))
    if spec.model is None:
        return Joined(spec, target, space_from_spec(spec.to_json(), formats, facts))
    model, multiples = _describe_model(spec)
    return Joined(spec, target, user_space_from_spec(spec.to_json(), model, formats, facts, multiples))


def has_foreign_space(spec: StudySpec) -> bool:
    """Tell whether the study's space is a user's own."""
    from search_spaces.joint import SPACES

    return spec.space.name not in SPACES


def _check_parts(spec: StudySpec) -> None:
    """Load every part that is not ours, so that what is wrong with one is said before anything runs.

    Raises:
        InputError: naming the first that cannot be used.
    """
    from automl import plugins
    from automl.study_spec import OURS

    for group, name in spec.foreign_parts():
        if group not in (plugins.SPACES, plugins.TARGETS):  # what makes those is loaded where they are made
            plugins.load(group, name, OURS[group])


def _foreign_space(spec: StudySpec, formats: Sequence[tuple[int, int]], facts: TargetFacts) -> SearchSpace:
    """Return the space that a user brings.

    Raises:
        InputError: where it cannot be found, made or built, or the study asks for what it does not have.
    """
    from automl import plugins
    from automl.space import SearchSpace
    from search_spaces.foreign import foreign_space, has_cells
    from search_spaces.joint import SPACES

    name = spec.space.name
    if spec.model is not None:
        raise input_error(
            "space.name", f"left out where there is a model, whose space is its own, or {SPACES[0]}", name
        )
    is_place = plugins.is_place(name)
    known = (*SPACES, "package.module:SPACE")
    part = plugins.load_place(plugins.SPACES, name) if is_place else plugins.load(plugins.SPACES, name, known)
    document = spec.to_json()
    made = part if isinstance(part, SearchSpace) else plugins.ask(part, f"space {name}", document, formats, facts)
    space = foreign_space(made, document, facts)
    if spec.teacher.assistant and not has_cells(space):
        raise input_error("teacher.assistant", "false where the space has no dimensions width and cells", "true")
    return space


def _target_facts(target: Target, spec: StudySpec) -> TargetFacts:
    """Return what the target executes of the runtimes and bits that the study names.

    Raises:
        InputError: where the study names bits that nothing executes there, with the reason.
    """
    from automl.combinations import TargetFacts

    known = [form for form in target.formats() if form.runtime in spec.target.runtimes]
    wanted = spec.quantization.pairs
    named = {f"w{form.weight_bits}a{form.activation_bits}": form for form in known if form.executable}
    reasons = {f"w{form.weight_bits}a{form.activation_bits}": form.reason for form in known}
    faults = [
        Fault("quantization.pairs", f"some of {', '.join(named)}", name, reasons.get(name, "There are no such bits."))
        for name in (wanted if wanted is not None else ())
        if name not in named
    ]
    if faults:
        raise InputError(faults)
    kept = [form for form in known if form.executable and (wanted is None or _name_of(form) in {*wanted, PLAIN_PAIR})]
    return TargetFacts(frozenset((form.runtime, form.weight_bits, form.activation_bits) for form in kept))


def _name_of(form: Format) -> str:
    return f"w{form.weight_bits}a{form.activation_bits}"


def _check_teaching(spec: StudySpec) -> None:
    """Refuse what cannot be taught as the study asks for it, before anything is trained.

    Raises:
        InputError: naming every fault.
    """
    from automl.study_spec import is_factory
    from automl.training.methods import teaching_faults

    plan, teacher = spec.distillation, spec.teacher
    source = "space" if is_factory(teacher.source) else teacher.source  # both are trained for the study
    faults = teaching_faults(
        plan.methods, plan.alphas, source=source, others=len(teacher.others), assistant=teacher.assistant,
        unlabelled=plan.unlabelled is not None, data=plan.data,
    )  # fmt: skip
    if faults:
        raise InputError(faults)


def _describe_model(spec: StudySpec) -> tuple[UserModel, Mapping[str, int]]:
    """Return what of the study's own model can be chosen, and groups whose widths have a multiple of their own."""
    from automl.compression.user_model import describe_user_model
    from automl.evaluation import task_of
    from automl.search.study_context import model_source
    from automl.study_spec import open_dataset

    source = model_source(spec)
    assert source is not None, "asked for a study that has a model"
    return describe_user_model(source, task_of(open_dataset(spec.data)))


def open_study_target(spec: StudySpec) -> Target:
    """Return the target that the study names.

    Raises:
        InputError: where it is unknown or absent.
    """
    from automl.targets import open_target

    if spec.search.ray.lane is not None:
        return _open_lane(spec, spec.search.ray.lane)
    return open_target(
        spec.target.name, batch=spec.target.batch, channel_multiple=spec.target.channel_multiple,
        runtimes=spec.target.runtimes,
    )  # fmt: skip


def _open_lane(spec: StudySpec, lane: str) -> Target:
    """Return the target of the node with the study's lane."""
    from automl.search.ray_lane import Opening, open_lane
    from automl.search.study_context import pool_plan

    part = spec.target
    opening = Opening(part.name, part.batch, part.channel_multiple, part.runtimes)
    return open_lane(pool_plan(spec), lane, opening)


def enqueued(joined: Joined) -> tuple[Point, ...]:
    """Return the points that the study evaluates before it asks its sampler."""
    from search_spaces.foreign import foreign_points
    from search_spaces.joint import enqueued_points
    from search_spaces.user_model import queued_points

    entries = joined.spec.search.enqueue
    if has_foreign_space(joined.spec):
        return foreign_points(joined.space, entries)
    return enqueued_points(joined.space, entries) if joined.spec.model is None else queued_points(joined.space, entries)


def named_cells(joined: Joined) -> tuple[Point, ...]:
    """Return the points of the known cells that lie in the space: the cells of the declared grid.

    A user's own space without the dimensions of our cells has none: its grid draws some.

    Raises:
        InputError: where none does.
    """
    from search_spaces.genotypes import KNOWN, enqueue_point

    found: list[Point] = []
    faults: list[Fault] = []
    for name in KNOWN:
        try:
            found.append(enqueue_point(joined.space, name))
        except InputError as error:
            faults.extend(error.faults)
    if not found and not has_foreign_space(joined.spec):
        raise InputError(faults)
    return tuple(found)


def storage_of(spec: StudySpec, storage: str | None) -> str | None:
    """Return the database that the user chose, else the study's, else None for the default one."""
    return spec.storage if storage is None else storage


def connect(storage: str | None) -> Store:
    """Return the store at the URL; None means the default one.

    Raises:
        StorageError: where it cannot be used.
    """
    from automl.storage import open_store

    return open_store(storage)


def connect_existing(storage: str | None) -> Store:
    """Return the store to read from; a database file that is not there is not made.

    Raises:
        InputError: where there is no such file.
        StorageError: where it cannot be used.
    """
    from automl.storage.store import DEFAULT_URL

    url = DEFAULT_URL if storage is None else storage
    path = database_path(url)
    if path is not None and not path.is_file():
        remedy = "Run `automl search` here first, or name the database by --storage or AUTOML_STORAGE."
        raise input_error(url, "the database of a study", "no such file", remedy)
    return connect(url)


def runs_folder(storage: str | None) -> Path:
    """Return the run folder: that of an SQLite database's file, else `runs` in the working directory."""
    path = None if storage is None else database_path(storage)
    return RUNS if path is None else path.parent


def study_folder(storage: str | None, name: str) -> Path:
    """Return where the files of the study lie."""
    return runs_folder(storage) / name


def database_path(url: str) -> Path | None:
    """Return the file of an SQLite URL, None for any other database."""
    scheme, separator, rest = url.partition(":///")
    path = rest.partition("?")[0]
    return Path(path) if separator and scheme.partition("+")[0] == "sqlite" and path not in ("", ":memory:") else None


def pick_study(store: Store, name: str | None) -> StudyRecord:
    """Return the study of that name, or the latest one.

    Raises:
        InputError: where there is none; names those that there are.
    """
    studies = store.studies()
    if name is None and studies:
        return studies[-1]
    found = next((study for study in studies if study.name == name), None)
    if found is None:
        known = ", ".join(study.name for study in studies)
        expected = f"one of: {known}" if known else "in the database"
        got = "none: the database holds no study" if not known else repr(name)
        raise input_error("the study", expected, got, "" if known else "Run `automl search` first.")
    return found


def spec_of(study: StudyRecord) -> StudySpec:
    """Return the study's spec as it was recorded."""
    from automl.study_spec import parse_study_spec

    return parse_study_spec(study.spec, f"study {study.name}")
