"""The heart: one experiment from a job to one record. Console, worker, calibrator and kernel lab all call `run`.

job -> run directory -> trainer -> evaluator -> result.json
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import TypeVar

from shared.contracts import (
    Choice,
    EvaluationRecord,
    Job,
    PackJob,
    Rung,
    RunResult,
    Status,
    TrainingRecord,
    Unranked,
    VoidCause,
    evident_reasons,
    one_line,
    weaker,
)
from shared.data.dataset import open_reference
from shared.experiment.request import has_own_terms
from shared.experiment.settings import tuning_of
from shared.machine.awake import kept_awake
from shared.machine.crowd import is_crowded
from shared.machine.device_lock import check_idle, device_lock, foreign_processes
from shared.machine.vitals import noting_vitals
from shared.runs.directory import RunDirectory, read_record, write_record
from shared.stages.executors import Executor, Watch, raise_fault

Record = TypeVar("Record", TrainingRecord, EvaluationRecord)

FINAL = frozenset({Status.OK, Status.DIVERGED, Status.REJECTED, Status.INVALID})
"""what running the same job again would not change"""
FAILED = frozenset({Status.CRASHED, Status.OUT_OF_MEMORY, Status.TIMED_OUT})
"""ends that another attempt may not have, and that a recipe can choose"""
MOST_UNFINISHED_AUDITS = 3


def run(
    job: Job, recipe_source: bytes, executor: Executor, watch: Watch = lambda stage: None,
    *, kernels: Mapping[str, bytes] = MappingProxyType({}),
) -> RunResult:  # fmt: skip
    """Lays the run directory out and works on it to the end. kernels: as RunDirectory.create.

    Every end of an experiment is a result. ValueError only for what stands outside it: a dataset or device that cannot
    be used, a run id that is taken; OSError for the disk. What was trained until then stays, to be resumed; if nothing
    was, nothing.
    """
    open_reference(job.dataset)
    directory = RunDirectory.of(job.run_id)
    with device_lock(job.device), kept_awake():
        try:
            directory.create(job, recipe_source, kernels)
        except FileExistsError:
            raise ValueError(f"{directory.path} exists: resume it, or choose another run id") from None
        try:
            return _work(directory, executor, watch)
        except (ValueError, OSError):
            if not directory.checkpoint_dir.exists():
                shutil.rmtree(directory.path)
            raise


def resume(directory: RunDirectory, executor: Executor, watch: Watch = lambda stage: None) -> RunResult:
    """Goes on where the run stopped, in training or in evaluation; a finished run is returned as it is, as is one that
    counts against its idea.

    ValueError when the directory is not a run, or somebody works on it.
    """
    job = directory.job()
    result = directory.result()
    if result is not None and (result.status in FINAL or counts_against_its_idea(directory, result)):
        return result
    with device_lock(job.device), kept_awake():
        return _work(directory, executor, watch)


def counts_against_its_idea(directory: RunDirectory, result: RunResult) -> bool:
    """An idea whose run came to no number is dropped (shared/research/judge.py). A recipe that failed whenever it has
    bad luck, or is about to be caught, would choose among its attempts. Others on its CPU are no doing of the recipe.
    """
    job, training = directory.job(), directory.training()
    if job.idea is None or result.void is not None or result.status not in FAILED:
        return False
    return training is None or not is_crowded(job.device, training.foreign_cpu, training.stolen_cpu)


def evaluate(
    directory: RunDirectory, rung: str | None, executor: Executor, watch: Watch = lambda stage: None
) -> RunResult:
    """Scores a trained run again, on any rung; None takes the one its job asked for.

    ValueError when the run was not trained to its end, cannot be scored, was rejected, or is an idea's and has a number
    or failed; its result stays as it was.
    """
    if rung not in (None, "auto", *Rung):
        raise ValueError(f"unknown rung '{rung}': choose one of auto, {', '.join(Rung)}")
    with device_lock(directory.job().device), kept_awake(), directory.locked():
        training = directory.training()
        if training is None or training.status is not Status.OK:
            raise ValueError(f"{directory.path} was not trained to its end: autoresearch train --resume it first")
        if (earlier := directory.evaluation()) is not None and earlier.status is Status.REJECTED:
            # an audit looks at other places every time: asked often enough, it would miss what it found once
            raise ValueError(f"{directory.path} was rejected ({earlier.reason}): that stands; train the recipe again")
        if (result := directory.result()) is not None and counts_against_its_idea(directory, result):
            raise ValueError(f"{directory.path} ended {result.status}: that counts against its idea, and stands")
        if result is not None and result.idea is not None and result.status is Status.OK:
            # somebody who does not like it would move it to another rung, and run its seed once more on this one
            raise ValueError(
                f"{directory.path} has val_bpb {result.val_bpb:.6f} on rung {result.rung} for idea {result.idea}, and "
                f"that stands: `autoresearch train --recipe {directory.recipe_file} --rung RUNG`, without --note and "
                "--parent, trains the recipe for a number on another rung"
            )
        return _evaluate(directory, executor, watch, monotonic(), training, rung)


def _work(directory: RunDirectory, executor: Executor, watch: Watch) -> RunResult:
    started = monotonic()
    with directory.locked():
        watch = noting_vitals(watch, directory.system_file, directory.job().device)
        directory.result_file.unlink(missing_ok=True)
        training = directory.training()
        if training is None or training.status is not Status.OK or not directory.has_checkpoint():
            training = _train(directory, executor, watch)
        elif (stands := _rejected(directory)) is not None:
            return _conclude(directory, started, training, stands)
        if training.status is not Status.OK:
            return _conclude(directory, started, training, None)
        return _evaluate(directory, executor, watch, started, training, None)


def _train(directory: RunDirectory, executor: Executor, watch: Watch) -> TrainingRecord:
    """An attempt that somebody else's process disturbed is void: cancelled, to be run again."""
    job = directory.job()
    _ensure_rows(job, executor, watch)
    directory.training_file.unlink(missing_ok=True)
    check_idle(job.device)
    code, line = executor.execute("trainer", [str(directory.path)], watch)
    raise_fault(code, line)
    if others := foreign_processes(job.device):
        directory.discard_checkpoint()  # disturbed steps are fewer: there is nothing to go on from
        reason = f"void: {others[0]} used {job.device} during training"
        shared = TrainingRecord(status=Status.CANCELLED, reason=reason, void=VoidCause.DEVICE_SHARED)
        write_record(directory.training_file, shared)
    if (training := directory.training()) is not None:
        return unasked(training)
    reason = line or "the trainer left no record"
    return TrainingRecord(status=Status.CRASHED, reason=reason, void=lost(code))


def lost(code: int) -> VoidCause | None:
    """Of a stage that left no record: it was killed, or a fault of its own ended it, which would come again."""
    return VoidCause.EXECUTOR_LOST if code < 0 else None


def unasked(record: Record) -> Record:
    """Of a stage that was told to end, although whoever wants that here ends it by an exception of the watch: its
    executor or the container engine was stopped, which says nothing of the recipe.
    """
    if record.status is not Status.CANCELLED or record.void is not None:
        return record
    reason = f"void: the stage was told to end from outside ({record.reason or 'no reason given'})"
    return record.model_copy(update={"void": VoidCause.EXECUTOR_LOST, "reason": one_line(reason)})


def _ensure_rows(job: Job, executor: Executor, watch: Watch) -> None:
    """Rows are packed once per length; most lengths are there from the start."""
    dataset = open_reference(job.dataset)
    if dataset.has_rows("train", job.shape.seq_len):
        return
    pack = PackJob(dataset=job.dataset, seq_len=job.shape.seq_len)
    code, line = executor.execute("prepare", [pack.model_dump_json()], watch)
    raise_fault(code, line)
    if code:
        raise ValueError(line or f"rows of {job.shape.seq_len} tokens could not be packed")


def _evaluate(
    directory: RunDirectory,
    executor: Executor,
    watch: Watch,
    started: float,
    training: TrainingRecord,
    rung: str | None,
) -> RunResult:
    """The record of an earlier evaluation stays until there is a new one, and is not taken for it."""
    earlier, audits = _version(directory.evaluation_file), _unfinished_audits(directory)
    try:
        code, line = executor.execute("evaluator", [str(directory.path), *([rung] if rung else [])], watch)
    except BaseException:
        if _version(directory.evaluation_file) != earlier:
            _counted(directory, audits)
        raise
    raise_fault(code, line)
    if _version(directory.evaluation_file) == earlier:
        reason = line or "the evaluator left no record"
        write_record(directory.evaluation_file, EvaluationRecord(status=Status.CRASHED, reason=reason, void=lost(code)))
    evaluation = unasked(_counted(directory, audits))
    write_record(directory.evaluation_file, evaluation)
    return _conclude(directory, started, training, evaluation)


def _earlier_evaluation(directory: RunDirectory) -> EvaluationRecord | None:
    with suppress(ValueError):  # a damaged record: what is scored now replaces it
        return directory.evaluation()
    return None


def _rejected(directory: RunDirectory) -> EvaluationRecord | None:
    """An evaluation that somebody cancelled after its audit had failed, so that it has no result."""
    earlier = _earlier_evaluation(directory)
    return earlier if earlier and earlier.status is Status.REJECTED else None


def _unfinished_audits(directory: RunDirectory) -> int:
    earlier = _earlier_evaluation(directory)
    return earlier.unfinished_audits if earlier else 0


def _counted(directory: RunDirectory, earlier: int) -> EvaluationRecord:
    """The record that the evaluator left, with the audits of this run that ended before it."""
    evaluation = _with_earlier_audits(read_record(directory.evaluation_file, EvaluationRecord), earlier)
    write_record(directory.evaluation_file, evaluation)
    return evaluation


def _with_earlier_audits(evaluation: EvaluationRecord, earlier: int) -> EvaluationRecord:
    """A recipe may see in an audit that it will be caught, and crash, or wait until a friend cancels the run, or make
    the evaluator stand still: it would choose the audit that misses it."""
    ended = earlier + evaluation.unfinished_audits
    counted: dict[str, object] = {"unfinished_audits": ended}
    if evaluation.status in (*FAILED, Status.CANCELLED) and ended >= MOST_UNFINISHED_AUDITS:
        reason = f"stateless: {ended} audits of this run ended before their verdict, the last one {evaluation.status}"
        counted |= {"status": Status.REJECTED, "void": None, "reason": one_line(f"{reason}: {evaluation.reason}")}
    return evaluation.model_copy(update=counted)


def _version(file: Path) -> tuple[int, int] | None:
    """Differs after the file was replaced."""
    return (file.stat().st_ino, file.stat().st_mtime_ns) if file.exists() else None


def _conclude(
    directory: RunDirectory, started: float, training: TrainingRecord, evaluation: EvaluationRecord | None
) -> RunResult:
    stages = training.startup_seconds + training.training_seconds + training.finish_seconds
    stages += evaluation.total_seconds if evaluation else 0.0
    result = gather(directory.job(), training, evaluation, max(stages, monotonic() - started))
    write_record(directory.result_file, result)
    return result


def gather(job: Job, training: TrainingRecord, evaluation: EvaluationRecord | None, total_seconds: float) -> RunResult:
    """The summary of one experiment. total_seconds: wall-clock of all its stages, also of those before a resume."""
    last = evaluation or training
    unranked = why_unranked(job, training, evaluation)
    scored = evaluation.choices if evaluation else ()
    rung = evaluation.rung.rung if evaluation and evaluation.rung else None
    return RunResult(
        run_id=job.run_id,
        status=last.status,
        reason=last.reason,
        void=last.void,
        val_bpb=evaluation.val_bpb if evaluation else None,
        val_bpb_upstream=evaluation.val_bpb_upstream if evaluation else None,
        training_seconds=training.training_seconds,
        outside_seconds=evaluation.outside_seconds if evaluation else 0.0,
        total_seconds=total_seconds,
        peak_vram_mb=training.peak_vram_mb,
        mfu_percent=training.mfu_percent,
        total_tokens_M=training.total_tokens / 1e6,
        num_steps=training.num_steps,
        num_params_M=training.num_params / 1e6 if training.num_params else None,
        depth=job.shape.depth,
        tok_per_sec=training.tok_per_sec,
        rung=rung,
        ranked=not unranked,
        unranked=unranked,
        integrity=weaker(training.integrity, evaluation.integrity) if evaluation else training.integrity,
        engine=job.engine,
        attention_backend=training.attention_backend,
        target=job.target,
        hardware_key=job.hardware_key,
        dataset=job.dataset.fingerprint,
        recipe_sha=job.recipe_sha,
        seed=job.seed,
        budget=job.budget,
        shape=job.shape,
        tuning=tuning_of(job),
        idea=job.idea.id if job.idea else None,
        own_terms=has_own_terms(job),
        eval_signature=evaluation.eval_signature if evaluation else "",
        choices=tuple(dict.fromkeys((*job.choices, *text_coverage(job, last.status), *training.choices, *scored))),
    )


def why_unranked(job: Job, training: TrainingRecord, evaluation: EvaluationRecord | None) -> tuple[Unranked, ...]:
    """Every reason not to compare the result. ValueError when there is a number but no more dataset to ask about."""
    status = (evaluation or training).status
    rung = evaluation.rung.rung if evaluation and evaluation.rung else None
    demo = status is Status.OK and open_reference(job.dataset).manifest.is_demo
    computed_s = training.training_seconds + (evaluation.outside_seconds if evaluation else 0.0)
    busy = status is Status.OK and is_crowded(job.device, training.foreign_cpu, training.stolen_cpu)
    more = {Unranked.DEMO_CORPUS: demo, Unranked.BUSY_MACHINE: busy}
    evident = evident_reasons(status, rung, job.budget, computed_s)
    return (*evident, *(reason for reason, holds in more.items() if holds))


def text_coverage(job: Job, status: Status) -> tuple[Choice, ...]:
    """How much of the training text the rows held, where documents are cut for them."""
    seq_len = job.shape.seq_len
    coverage = open_reference(job.dataset).coverage(seq_len) if status is Status.OK else None
    if coverage is None:
        return ()
    reason = f"of the training text stands in rows of {seq_len} tokens"
    return (Choice(what="text coverage", chosen=f"{coverage:.1%}", reason=reason),)
