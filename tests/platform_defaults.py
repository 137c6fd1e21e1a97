"""A platform default of this machine, as a calibration might have found it."""

from datetime import UTC, datetime

from shared.contracts import DatasetRef
from shared.evaluation.rungs import eval_signature
from shared.experiment.platform_default import PlatformDefault
from shared.experiment.presets import find_preset
from shared.files import sha256_file
from shared.machine import hardware as machine
from shared.machine.device import Device
from shared.machine.hardware import detect
from shared.runs.shipped import default_recipe


def on_a_cpu(monkeypatch) -> None:
    """The best device is the CPU, whatever machine runs the tests."""
    monkeypatch.setattr(machine, "_best_device", lambda: Device.parse("cpu"))


def calibrated(**changes) -> PlatformDefault:
    """Of this machine, for a shape that is no preset's."""
    hardware = detect("cpu")
    values = dict(
        hardware_key=hardware.hardware_key, target=hardware.target, engine="torch", device="cpu",
        driver_version=hardware.driver_version, framework="torch 2.13.0", family="m5-tiny",
        shape=find_preset("m5-tiny").shape.model_copy(update={"device_batch_size": 8, "total_batch_size": 16384}),
        tuning={"compile": "off"}, eval_batch_size=4, rung="cheap",
        dataset=DatasetRef(name="words", fingerprint="d" * 64),
        budget_seconds=300, val_bpb=1.75, spread=0.02, tok_per_sec=15000, memory_mb=900, confidence="medium",
        reason="measured", eval_signature=eval_signature(), recipe_sha=sha256_file(default_recipe("torch")),
        made_at=datetime.now(UTC), mode="fast", calibration="c1",
    )  # fmt: skip
    return PlatformDefault.model_validate(values | changes)


def unmeasured(**changes) -> PlatformDefault:
    """The same, of a calibration in which every probe failed."""
    nothing = dict.fromkeys(("val_bpb", "spread", "tok_per_sec", "memory_mb"))
    said = {"confidence": "none", "reason": "no probe came to a number", "next_step": "find out what is wrong"}
    return calibrated(**nothing | said | changes)
