"""Finished run directories as the stages leave them, for tests of whatever reads one."""

import math
import random
from pathlib import Path

from shared.contracts import (
    Budget,
    Check,
    Choice,
    CurvePoint,
    DatasetRef,
    EvaluationRecord,
    Job,
    Rung,
    RungChoice,
    RunResult,
    Status,
    StepRecord,
    TrainingRecord,
    Unranked,
)
from shared.evaluation.rungs import eval_signature
from shared.experiment.presets import find_preset
from shared.files import sha256_bytes
from shared.runs.directory import RunDirectory, write_record

RECIPE = b"def build(shape, vocab_size, seed, device):\n    ...\n"


def make_job(run_id: str = "run-1", preset: str = "m5-small", seed: int = 42) -> Job:
    return Job(
        run_id=run_id,
        engine="mlx",
        device="metal",
        target="mac",
        hardware_key="apple-m5-32gb-10gpu",
        preset=preset,
        shape=find_preset(preset).shape,
        dataset=DatasetRef(name="climbmix-10", fingerprint="d" * 64),
        recipe_sha=sha256_bytes(RECIPE),
        seed=seed,
        budget=Budget(seconds=300),
        curve_points=4,
        choices=(Choice(what="engine", chosen="mlx", reason="Apple Silicon"),),
    )


def make_steps(num_steps: int = 120, seconds: float = 300.0, seed: int = 0) -> list[StepRecord]:
    noise = random.Random(seed)
    steps, ema = [], 0.0
    for step in range(num_steps):
        progress = (step + 1) / num_steps
        loss = 3.9 + 5.1 * math.exp(-9 * progress) - 0.3 * progress + noise.gauss(0, 0.06)
        ema = 0.9 * ema + 0.1 * loss
        step_ms = 1000 * seconds / num_steps * noise.uniform(0.97, 1.03)
        steps.append(
            StepRecord(
                step=step,
                progress=progress,
                train_seconds=seconds * progress,
                tokens=(step + 1) * 12_288,
                loss=loss,
                loss_ema=ema / (1 - 0.9 ** (step + 1)),
                tok_per_sec=12_288_000 / step_ms,
                mfu_percent=23.5,
                step_ms=step_ms,
                input_ms=0.4,
                dispatch_ms=2.0,
                wait_ms=step_ms - 2.9,
                record_ms=0.5,
                peak_vram_mb=1010.0,
                recipe={"lr_multiplier": min(1.0, 2 * (1 - progress))},
            )
        )
    return steps


def make_result(
    run_id: str = "run-1",
    val_bpb: float | None = 1.441619,
    status: Status = Status.OK,
    reason: str = "",
    seed: int = 42,
) -> RunResult:
    return RunResult(
        run_id=run_id,
        status=status,
        reason=reason,
        val_bpb=val_bpb,
        val_bpb_upstream=None if val_bpb is None else val_bpb * 0.998,
        training_seconds=300.1,
        total_seconds=318.4,
        peak_vram_mb=1010.0,
        mfu_percent=23.5,
        total_tokens_M=13.1,
        num_steps=120,
        num_params_M=11.5,
        depth=4,
        tok_per_sec=46_000.0,
        rung=None if val_bpb is None else Rung.REFERENCE,
        ranked=val_bpb is not None,
        unranked=() if val_bpb is not None else (Unranked.NOT_OK,),
        engine="mlx",
        attention_backend="mx.fast",
        target="mac",
        hardware_key="apple-m5-32gb-10gpu",
        dataset="d" * 64,
        recipe_sha=sha256_bytes(RECIPE),
        seed=seed,
        budget=Budget(seconds=300),
        eval_signature=eval_signature() if val_bpb is not None else "",
    )


def make_evaluation(result: RunResult) -> EvaluationRecord:
    if result.val_bpb is None:
        return EvaluationRecord(status=result.status, reason=result.reason)
    curve = [
        CurvePoint(progress=p, train_seconds=300 * p, step=round(120 * p), val_bpb=result.val_bpb + 0.4 * (1 - p) ** 2)
        for p in (0.25, 0.5, 0.75, 1.0)
    ]
    return EvaluationRecord(
        status=Status.OK,
        val_bpb=result.val_bpb,
        val_bpb_upstream=result.val_bpb_upstream,
        rung=RungChoice(
            rung=Rung.REFERENCE,
            status="measured",
            confidence="stable",
            freshness="fresh",
            reason="reference costs 4.10% of the budget; full costs 54.67% of the budget, above 1%",
        ),
        num_tokens=1_572_864,
        total_nats=5.2e6,
        total_bytes=5_000_000,
        eval_seconds=12.3,
        total_seconds=15.0,
        eval_batch_size=6,
        eval_signature=eval_signature(),
        checks=(Check(name="causal", passed=True, detail="largest difference 0"),),
        curve=tuple(curve),
    )


def make_run(root: Path, result: RunResult | None = None, num_steps: int = 120) -> RunDirectory:
    """A run directory with every file a finished run has."""
    result = result or make_result()
    directory = RunDirectory(root / result.run_id)
    directory.create(make_job(result.run_id, seed=result.seed), RECIPE)
    lines = [step.model_dump_json() + "\n" for step in make_steps(num_steps)]
    directory.metrics_file.write_text("".join(lines))
    directory.output_file.write_text("compiled in 12.1 s\nhello from the recipe\n")
    trained = result.status in (Status.OK, Status.REJECTED)
    training_status = Status.OK if trained else result.status
    write_record(
        directory.training_file,
        TrainingRecord(status=training_status, startup_seconds=9.0, training_seconds=300.1, num_steps=num_steps),
    )
    if trained:
        write_record(directory.evaluation_file, make_evaluation(result))
    write_record(directory.result_file, result)
    return directory
