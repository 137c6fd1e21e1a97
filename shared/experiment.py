"""The heart: one experiment from a job to one record. Console, worker, calibrator and kernel lab all call `run`.

job -> run directory -> trainer -> evaluator -> result.json
"""

from time import monotonic

from shared.contracts import (
    EvaluationRecord,
    Job,
    PackJob,
    Rung,
    RunResult,
    Status,
    TrainingRecord,
)  # fmt: skip
from shared.dataset import open_reference
from shared.device_lock import check_idle, device_lock, foreign_processes
from shared.executors import BAD_INPUT, Executor, Watch
from shared.run_directory import RunDirectory, write_record

FINAL = frozenset({Status.OK, Status.DIVERGED, Status.REJECTED, Status.INVALID})
"""what running the same job again would not change"""


def run(job: Job, recipe_source: bytes, executor: Executor, watch: Watch = lambda stage: None) -> RunResult:
    """Lays the run directory out and works on it to the end.

    Every end of an experiment is a result. ValueError only for what stands outside it: a dataset or device that
    cannot be used, a run id that is taken.
    """
    open_reference(job.dataset)
    directory = RunDirectory.of(job.run_id)
    with device_lock(job.device):
        try:
            directory.create(job, recipe_source)
        except FileExistsError:
            raise ValueError(f"{directory.path} exists: resume it, or choose another run id") from None
        return _work(directory, executor, watch)


def resume(directory: RunDirectory, executor: Executor, watch: Watch = lambda stage: None) -> RunResult:
    """Goes on where the run stopped, in training or in evaluation; a finished run is returned as it is.

    ValueError when the directory is not a run, or somebody works on it.
    """
    job = directory.job()
    result = directory.result()
    if result is not None and result.status in FINAL:
        return result
    with device_lock(job.device):
        return _work(directory, executor, watch)


def evaluate(directory: RunDirectory, rung: str, executor: Executor, watch: Watch = lambda stage: None) -> RunResult:
    """Scores a trained run again, on any rung."""
    with device_lock(directory.job().device), directory.locked():
        started = monotonic()
        directory.evaluation_file.unlink(missing_ok=True)
        return _evaluate(directory, executor, watch, started, rung)


def _work(directory: RunDirectory, executor: Executor, watch: Watch) -> RunResult:
    started = monotonic()
    with directory.locked():
        directory.result_file.unlink(missing_ok=True)
        training = directory.training()
        if training is None or training.status is not Status.OK:
            training = _train(directory, executor, watch)
        if training.status is not Status.OK:
            return _conclude(directory, started, training, None)
        return _evaluate(directory, executor, watch, started, "auto")


def _train(directory: RunDirectory, executor: Executor, watch: Watch) -> TrainingRecord:
    """An attempt that somebody else's process disturbed is void: cancelled, to be run again."""
    job = directory.job()
    _ensure_rows(job, executor, watch)
    directory.training_file.unlink(missing_ok=True)
    check_idle(job.device)
    code, line = executor.execute("trainer", [str(directory.path)], watch)
    if code == BAD_INPUT:
        raise ValueError(line)
    if others := foreign_processes(job.device):
        void = TrainingRecord(status=Status.CANCELLED, reason=f"void: {others[0]} used {job.device} during training")
        write_record(directory.training_file, void)
    return directory.training() or TrainingRecord(status=Status.CRASHED, reason=line or "the trainer left no record")


def _ensure_rows(job: Job, executor: Executor, watch: Watch) -> None:
    """Rows are packed once per length; most lengths are there from the start."""
    dataset = open_reference(job.dataset)
    if dataset.has_rows("train", job.shape.seq_len):
        return
    pack = PackJob(dataset=job.dataset, seq_len=job.shape.seq_len)
    code, line = executor.execute("prepare", [pack.model_dump_json()], watch)
    if code:
        raise ValueError(line or f"rows of {job.shape.seq_len} tokens could not be packed")


def _evaluate(directory: RunDirectory, executor: Executor, watch: Watch, started: float, rung: str) -> RunResult:
    training = directory.training()
    assert training is not None
    rung = directory.job().rung if rung == "auto" else rung
    code, line = executor.execute("evaluator", [str(directory.path), rung], watch)
    if code == BAD_INPUT:
        raise ValueError(line)
    evaluation = directory.evaluation() or EvaluationRecord(
        status=Status.CRASHED, reason=line or "the evaluator left no record"
    )
    return _conclude(directory, started, training, evaluation)


def _conclude(
    directory: RunDirectory, started: float, training: TrainingRecord, evaluation: EvaluationRecord | None
) -> RunResult:
    result = gather(directory.job(), training, evaluation, monotonic() - started)
    write_record(directory.result_file, result)
    return result


def gather(job: Job, training: TrainingRecord, evaluation: EvaluationRecord | None, total_seconds: float) -> RunResult:
    """The summary of one experiment. total_seconds: wall-clock of all its stages."""
    last = evaluation or training
    rung = evaluation.rung.rung if evaluation and evaluation.rung else None
    return RunResult(
        run_id=job.run_id,
        status=last.status,
        reason=last.reason,
        val_bpb=evaluation.val_bpb if evaluation else None,
        val_bpb_upstream=evaluation.val_bpb_upstream if evaluation else None,
        training_seconds=training.training_seconds,
        total_seconds=total_seconds,
        peak_vram_mb=training.peak_vram_mb,
        mfu_percent=training.mfu_percent,
        total_tokens_M=training.total_tokens / 1e6,
        num_steps=training.num_steps,
        num_params_M=training.num_params / 1e6 if training.num_params else None,
        depth=job.shape.depth,
        tok_per_sec=training.tok_per_sec,
        rung=rung,
        ranked=last.status is Status.OK and rung is not None and rung is not Rung.SMOKE,
        engine=job.engine,
        attention_backend=training.attention_backend,
        target=job.target,
        hardware_key=job.hardware_key,
        dataset=job.dataset.fingerprint,
        recipe_sha=job.recipe_sha,
        seed=job.seed,
        budget=job.budget,
        eval_signature=evaluation.eval_signature if evaluation else "",
        choices=tuple(dict.fromkeys((*job.choices, *training.choices, *(evaluation.choices if evaluation else ())))),
    )
