"""What is asked of a run beside its recipe, written in one way: `depth=04` on a preset of depth 4 asks for nothing.

An idea is named by this (shared/experiment/identity.py), so that the same run has one name, and one set of seeds.
Without a preset the shape is the machine's choice: then every value stands, though in its normal form.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast

from pydantic import TypeAdapter

from shared.contracts import Choice, Job, Shape
from shared.experiment.presets import PRESETS
from shared.runs.shipped import promoted_kernels

JOB_KEYS = ("attention", "compile", "dtype", "eval_batch_size", "kernels")
TUNED = ("attention", "compile", "dtype", "kernels")
"""of these, what a calibration chooses with the shape and what changes val_bpb"""
Asked = tuple[str | None, dict[str, str]]
"""preset, and the values of --set"""


PROMOTED = "promoted kernels"
"""the choice that names them: recipes use them unasked"""


def may_differ(names: Iterable[str]) -> set[str]:
    """These, and what follows from them: the rows of a pass are fitted to another step or row length (request.py)."""
    found = set(names)
    return found | ({"device_batch_size"} if found & {"total_batch_size", "seq_len"} else set())


def tuning_of(job: Job) -> dict[str, str]:
    promoted = next((choice.chosen for choice in job.choices if choice.what == PROMOTED), "")
    return {**{name: _text(getattr(job, name)) for name in TUNED}, "promoted": promoted}


def promotions_said(hardware_key: str) -> tuple[Choice, ...]:
    """What of kernels/promoted.toml a run finds that begins now: a line may come or go between two runs."""
    promoted = promoted_kernels(hardware_key)
    reason = "promoted on this machine, and used by recipes that are not told otherwise"
    return (Choice(what=PROMOTED, chosen=_text(promoted), reason=reason),) if promoted else ()


def normal(preset: str | None, settings: Mapping[str, str]) -> Asked:
    """Without what the preset has anyhow, each value in its normal form.

    What no run can be set stays as it is: whoever builds the job says what is wrong with it.
    """
    return _shortest(preset, settings, ())


def resolved(preset: str | None, settings: Mapping[str, str]) -> Asked:
    """Equal for all that train one shape in the same way, also from different presets."""
    return _shortest(preset, settings, PRESETS)


def _shortest(preset: str | None, settings: Mapping[str, str], others: Iterable[str]) -> Asked:
    try:
        values = {name: _value(name, text) for name, text in settings.items()}
        if preset not in PRESETS:
            return preset, {name: _text(value) for name, value in values.items()}
        own = {name: value for name, value in values.items() if name in Shape.model_fields}
        shape = _shape(PRESETS[preset].shape.model_dump() | own)
    except ValueError:
        return preset, dict(settings)
    said = ((name, _changes(name, shape)) for name in dict.fromkeys((*others, preset)))
    shortest, changed = min(said, key=lambda one: len(one[1]))
    asked = {name: value for name, value in values.items() if name in JOB_KEYS and value != _default(name)}
    return shortest, {name: _text(value) for name, value in {**changed, **asked}.items()}


def _shape(values: Mapping[str, Any]) -> Shape:
    """With the shortest pattern that gives its layers the same windows: that of the last one is always L.

    A pattern that says nothing shorter in two rounds says nothing shorter at all.
    """
    shape = Shape.model_validate(values)
    length = max(1, min(shape.depth - 1, 2 * len(shape.window_pattern)))
    windows = _repeated(shape.window_pattern, length) if shape.depth > 1 else "L"
    shortest = next(windows[:n] for n in range(1, length + 1) if _repeated(windows[:n], length) == windows)
    return shape.model_copy(update={"window_pattern": shortest})


def _repeated(pattern: str, length: int) -> str:
    return (pattern * length)[:length]


def _changes(preset: str, shape: Shape) -> dict[str, Any]:
    """What has to be set for the preset to be that shape."""
    before, after = PRESETS[preset].shape.model_dump(), shape.model_dump()
    if _shape(after | {"window_pattern": before["window_pattern"]}) == shape:
        after["window_pattern"] = before["window_pattern"]
    return {name: value for name, value in after.items() if value != before[name]}


def _value(name: str, text: str) -> Any:
    """ValueError for what no run can be set."""
    if name not in (*Shape.model_fields, *JOB_KEYS):
        raise ValueError(f"unknown key '{name}'")
    field = (Shape if name in Shape.model_fields else Job).model_fields[name]
    adapter: TypeAdapter[Any] = TypeAdapter(cast(Any, Annotated[field.annotation, field]))
    return adapter.validate_python(text)


def _default(name: str) -> Any:
    return Job.model_fields[name].get_default(call_default_factory=True)


def _text(value: Any) -> str:
    """As --set takes it."""
    if isinstance(value, dict):
        return ",".join(f"{op}={kernel}" for op, kernel in sorted(value.items()))
    return str(value)
