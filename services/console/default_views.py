"""Platform defaults as `autoresearch defaults` shows them: found by name, judged, flattened for comparison."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from shared.calibration.promotion import BUNDLE, DEFAULT_FILE, read_default_file
from shared.contracts import Shape
from shared.experiment.platform_default import (
    Judgement,
    PlatformDefault,
    all_defaults,
    default_file,
    installed_framework,
    judge,
    read_default,
)
from shared.experiment.presets import PRESETS
from shared.files import sha256_file
from shared.machine.hardware import Hardware, detect
from shared.runs.shipped import default_recipe
from shared.settings import settings

ENGINES = ("torch", "mlx")


def cached(warn: Callable[[str], None]) -> list[PlatformDefault]:
    """All that can be read; a damaged one is named and left out."""
    found = []
    for path in sorted((settings().home / "platform").glob("*/default-*.json")):
        try:
            default = read_default(path.parent.name, path.stem.removeprefix("default-"))
        except ValueError as error:
            warn(str(error))
            continue
        found += [default] if default else []
    return found


def find(name: str | None) -> PlatformDefault:
    """Of a hardware key, or KEY/engine; of this machine when there is no name. ValueError when there is none."""
    key, _, engine = (name or here().hardware_key).partition("/")
    if engine and engine not in ENGINES:
        raise ValueError(f"unknown engine '{engine}' in {name}: choose {' or '.join(ENGINES)}")
    found = [one for each in ENGINES if engine in ("", each) and (one := read_default(key, each))]
    if len(found) > 1:
        raise ValueError(f"{key} has a default for each engine: say {key}/torch or {key}/mlx")
    if found:
        return found[0]
    known = ", ".join(sorted({one.hardware_key for one in all_defaults()})) or "none yet"
    advice = "this machine has no default: autoresearch calibrate finds it" if name is None else f"no default of {name}"
    raise ValueError(f"{advice} (known: {known})")


def side(name: str) -> dict[str, Any]:
    """Of a preset: its shape. Of a file, a bundle or a hardware key: the default."""
    if name in PRESETS:
        return {"family": name, **shape_fields(PRESETS[name].shape)}
    path = Path(name)
    if path.is_dir():
        inside = path / BUNDLE / DEFAULT_FILE
        return fields_of(read_default_file(inside if inside.exists() else path / DEFAULT_FILE))
    return fields_of(read_default_file(path) if path.is_file() else find(name))


def fields_of(default: PlatformDefault) -> dict[str, Any]:
    noise = default.noise
    return {
        "hardware_key": default.hardware_key,
        "family": default.family,
        **shape_fields(default.shape),
        **default.tuning.model_dump(),
        "eval_batch_size": default.eval_batch_size,
        "rung": str(default.rung),
        "budget_seconds": default.budget_seconds,
        "val_bpb": default.val_bpb,
        "spread": default.spread,
        "tok_per_sec": default.tok_per_sec,
        "memory_mb": default.memory_mb,
        "confidence": str(default.confidence),
        "reason": default.reason,
        "next_step": default.next_step,
        "noise_sigma": noise.sigma if noise else None,
        "noise_seeds": noise.num_seeds if noise else None,
        "pairing_rho": noise.pairing.rho if noise and noise.pairing else None,
        "engine": default.engine,
        "framework": default.framework,
        "device": default.device,
        "target": default.target,
        "driver_version": default.driver_version,
        "dataset": f"{default.dataset.name} ({default.dataset.fingerprint[:12]})",
        "recipe_sha": default.recipe_sha[:12],
        "mode": default.mode,
        "made_at": f"{default.made_at:%Y-%m-%d %H:%M}",
        "calibration": default.calibration,
    }


def shape_fields(shape: Shape) -> dict[str, Any]:
    return shape.model_dump(mode="json")


def entry(default: PlatformDefault) -> dict[str, Any]:
    """One line of the list."""
    judgement = judged(default)
    shape = default.shape
    return {
        "hardware_key": default.hardware_key,
        "engine": default.engine,
        "is_here": is_here(default),
        "family": default.family,
        "says": f"{default.family} seq {shape.seq_len}, {shape.device_batch_size}/{shape.total_batch_size}",
        "val_bpb": default.val_bpb,
        "expects": "not known" if (bpb := default.val_bpb) is None else f"{bpb:.4f} after {default.budget_seconds:g} s",
        "confidence": str(default.confidence),
        "standing": str(judgement.standing),
        "why": judgement.reason,
        "made_at": default.made_at.isoformat(),
    }


def judged(default: PlatformDefault) -> Judgement:
    """Driver and framework are compared only on the machine that it is of."""
    own = is_here(default)
    driver = here_as(default.device).driver_version if own else default.driver_version
    recipe_sha = sha256_file(default_recipe(default.engine))
    framework = installed_framework(default.engine) if own and default.framework else None
    return judge(default, datetime.now(UTC), driver_version=driver, recipe_sha=recipe_sha, framework=framework)


def is_here(default: PlatformDefault) -> bool:
    """The machine that asks has a device with this hardware key."""
    try:
        return here_as(default.device).hardware_key == default.hardware_key
    except ValueError:
        return False


def replaced(default: PlatformDefault) -> str | None:
    """When the default was made that another one takes the place of; a damaged one counts as none."""
    if not default_file(default.hardware_key, default.engine).exists():
        return None
    try:
        before = read_default(default.hardware_key, default.engine)
    except ValueError:
        return "before, which was damaged"
    return f"{before.made_at:%Y-%m-%d %H:%M}" if before else None


def here() -> Hardware:
    return detect()


@cache
def here_as(device: str) -> Hardware:
    return detect(device)
