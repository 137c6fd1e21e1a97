"""One evaluation: choose the rung, score the final checkpoint in one process, audit it with another, write the record.

The validation rows and the targets stay in this process, which imports nothing of the recipe.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from services.evaluator.audit import Difference, audit, draw_probes, limits_on, screen, secret_random, verdict
from services.evaluator.compute_limits import ComputeLimits, MeasuredProcess, Spent, compute_limits
from services.evaluator.evaluation import Evaluation, Number
from services.evaluator.forward_process import ForwardProcess, preloaded
from services.evaluator.scoring import BitsPerByte, Scores, bits_per_byte, score_rows, take
from services.evaluator.source_charge import source_charge
from services.evaluator.weights_digest import weights_digest
from shared.contracts import Check, CurvePoint, EvaluationRecord, Job, Rung, RungChoice, Status, VoidCause
from shared.data.dataset import Dataset, open_reference
from shared.data.rows import Rows
from shared.engines import ATTENTION_BACKENDS, Engine, open_engine
from shared.evaluation.costs import CostKey, EvalCost, append_cost, read_costs, runtime_signature, shape_signature
from shared.evaluation.rungs import EVAL_SEQ_LEN, choose_rung, eval_signature, evaluation_batch, rows_for, shortfall
from shared.machine.device import Device
from shared.machine.stops import Stops
from shared.runs import checkpoint
from shared.runs.directory import RunDirectory, write_record
from shared.runs.recipe_file import read_source
from shared.runs.shipped import is_shipped, other_kernels
from shared.sandbox.launch import Ended
from shared.sandbox.preloaded import Preloaded
from shared.settings import settings

WEIGHTS = "model.safetensors"
LARGEST_LOGITS_BYTES, LARGEST_ON_CPU = 2**29, 2**27
"""of one pass. A CPU gains nothing by more, and its first pass, which takes the memory, would be five times as long"""


def evaluate(run: RunDirectory, requested_rung: str | None = None) -> EvaluationRecord:
    """Scores the run and writes evaluation.json. ValueError when run, checkpoint or rows cannot be used."""
    job = run.job()
    run.verified_recipe()
    final = final_checkpoint(run)
    dataset = open_reference(job.dataset)
    with run.stage_locked():
        return _recorded(Evaluation(run, job), dataset, final, requested_rung or job.rung)


def _recorded(evaluation: Evaluation, dataset: Dataset, final: Path, requested_rung: str) -> EvaluationRecord:
    with Stops() as stops, evaluation:
        try:
            _evaluate(evaluation, dataset, final, requested_rung)
            record = evaluation.record(Status.OK)
        except Ended as refusal:
            record = evaluation.record(refusal.status, refusal.reason)
    if stops.reason() and _may_be_spoiled(record):
        record = evaluation.record(Status.CANCELLED, stops.reason(), VoidCause.HOST_SLEPT)
    write_record(evaluation.run.evaluation_file, record)
    return record


def _may_be_spoiled(record: EvaluationRecord) -> bool:
    """By a process that stood still: only times are. A failed check stands, since a recipe that keeps the processors
    busy when it is caught would be tried again, with other cuts."""
    caught = any(not check.passed for check in record.checks)
    return not caught and (record.status is not Status.OK or record.outside_seconds > 0)


def final_checkpoint(run: RunDirectory) -> Path:
    record = checkpoint.latest(run.checkpoint_dir)
    if record is None or not record.final:
        raise ValueError(f"{run.path} has no final checkpoint to evaluate: resume its training first")
    return run.checkpoint_dir / record.folder / WEIGHTS


def _evaluate(evaluation: Evaluation, dataset: Dataset, weights: Path, requested: str) -> None:
    with preloaded(evaluation.run, evaluation.job) as nursery:
        _score_and_audit(evaluation, dataset, weights, requested, nursery)


def _score_and_audit(
    evaluation: Evaluation, dataset: Dataset, weights: Path, requested: str, nursery: Preloaded | None
) -> None:
    """One recipe process at a time: the scoring one has ended before the auditing one starts, and only the last one may
    read the points of the curve."""
    job, rows = evaluation.job, dataset.validation_rows()
    engine = open_engine(job.engine, job.device, dtype=job.dtype, compile="off")
    evaluation.framework = f"{engine.name} {engine.version}"
    gpu_seen = evaluation.gpu.busy_s() is not None
    limits = compute_limits(job, evaluation.run.training(), weights, dataset.vocab_size, gpu_seen=gpu_seen)
    batch_size = _batch_size(evaluation, dataset.vocab_size)
    fresh = _process_starter(evaluation, weights, dataset, batch_size, limits, nursery)
    with fresh() as scorer:
        evaluation.integrity = scorer.process.integrity
        rung = _choose_rung(evaluation, scorer.process, rows, batch_size, requested)
        indices = rows_for(rung.rung, rows.num_rows)
        evaluation.passes.expect(len(indices), batch_size, _num_curve_rows(evaluation, rows))
        scores = score_rows(scorer, engine, rows, indices, batch_size)
        _keep_scores(evaluation, scores, rows, dataset, rung.rung)
        evaluation.peak_vram_mb = scorer.process.peak_vram_mb
        _check_scoring(evaluation, scores, scorer.process, weights_digest(engine, engine.load(weights)))
        key = _cost_key(job, scorer.process, batch_size)
    if rung.rung is Rung.PROBE and is_shipped(job):
        evaluation.note("audit", "left out", "a probe of the shipped recipe, which is never ranked")
    else:
        _audit(evaluation, engine, rows, scores, fresh)
    evaluation.curve = _score_curve(evaluation, fresh, engine, rows, dataset, batch_size)
    evaluation.check_gpus()
    _keep_times(evaluation)
    _remember_cost(evaluation, key, rung, scores)


Starter = Callable[..., MeasuredProcess]
"""called with nothing, or with other weights that the process may be asked to load"""


def _process_starter(
    evaluation: Evaluation,
    weights: Path,
    dataset: Dataset,
    batch_size: int,
    limits: ComputeLimits,
    nursery: Preloaded | None,
) -> Starter:
    deadline = evaluation.started + settings().eval_timeout_s
    secret = (dataset.rows_file("validation", EVAL_SEQ_LEN), dataset.split_path("validation"))

    def fresh(points: Sequence[Path] = ()) -> MeasuredProcess:
        process = ForwardProcess(
            evaluation.run,
            evaluation.job.for_recipe,
            weights=weights,
            vocab_size=dataset.vocab_size,
            shape_BT=(batch_size, EVAL_SEQ_LEN),
            deadline=deadline,
            secret=secret,
            curve=points,
            nursery=nursery,
        )
        spent = Spent() if points else evaluation.spent  # no time buys anything when the number is there
        return MeasuredProcess(process, limits, spent, evaluation.passes.one_more, evaluation.gpu.busy_s)

    return fresh


def _batch_size(evaluation: Evaluation, vocab_size: int) -> int:
    job = evaluation.job
    wish = job.eval_batch_size or evaluation_batch(job.shape.total_batch_size)
    is_cpu = Device.parse(job.device).is_cpu
    if job.engine == "mlx" and is_cpu and wish > 1:
        # measured with OpenBLAS 0.3.21 on an AMD processor: from four rows of 2048 tokens on
        evaluation.note("eval_batch_size", "1", "MLX on a CPU: the place of a row among others changes its last bits")
        wish = 1
    largest = LARGEST_ON_CPU if is_cpu else LARGEST_LOGITS_BYTES
    fits = max(1, largest // (4 * EVAL_SEQ_LEN * vocab_size))
    if wish > fits:
        reason = f"{wish} rows of logits are more than {largest >> 20} MiB"
        evaluation.note("eval_batch_size", str(fits), reason)
    evaluation.eval_batch_size = min(wish, fits)
    return min(wish, fits)


def _choose_rung(
    evaluation: Evaluation, scorer: ForwardProcess, rows: Rows, batch_size: int, requested: str
) -> RungChoice:
    history = read_costs(evaluation.job.hardware_key)
    if history.note:
        evaluation.note("eval_costs", "partly read", history.note)
    training = evaluation.run.training()
    choice = choose_rung(
        requested,
        budget_s=evaluation.job.budget.seconds or (training.training_seconds if training else None),
        costs=history.costs,
        key=_cost_key(evaluation.job, scorer, batch_size),
        num_validation_rows=rows.num_rows,
        now=datetime.now(UTC),
    )
    evaluation.rung = choice
    evaluation.choices += scorer.choices
    if missing := shortfall(choice.rung, rows.num_rows):
        evaluation.note("validation rows", str(rows.num_rows), missing)
    if not scorer.serving.on_device:
        evaluation.note("logits hand-over", "host memory", scorer.why_host)
    return choice


def _cost_key(job: Job, scorer: ForwardProcess, batch_size: int) -> CostKey:
    opened = scorer.await_opened()
    return CostKey(
        hardware_key=job.hardware_key,
        shape_signature=shape_signature(job.shape, batch_size),
        runtime_signature=runtime_signature(
            engine=job.engine,
            framework_version=opened.framework_version,
            dtype=opened.dtype,
            attention=_known_attention(job, scorer.serving.attention_backend),
        ),
        eval_signature=eval_signature(),
    )


def _known_attention(job: Job, said: str | None) -> str:
    """The recipe's process says it: a name of its own would find no costs, and so choose the rung."""
    return said if said and said in ATTENTION_BACKENDS[job.engine] else "unknown"


def _keep_scores(evaluation: Evaluation, scores: Scores, rows: Rows, dataset: Dataset, rung: Rung) -> None:
    result = _value(scores, rows, dataset.tokenizer.token_bytes())
    upstream = _value(scores, rows, dataset.tokenizer.token_bytes_upstream())
    kernels = (*evaluation.run.own_kernels(), *other_kernels())
    charge = source_charge(read_source(evaluation.run.recipe_file), result, rung, kernels)
    evaluation.choices.append(charge.choice)
    evaluation.number = Number(
        result.value + charge.bpb, charge.bpb, upstream.value, result.total_nats, result.total_bytes
    )
    evaluation.num_tokens, evaluation.eval_seconds = scores.nats_NT.size, scores.seconds


def _check_scoring(evaluation: Evaluation, scores: Scores, scorer: ForwardProcess, trained: str) -> None:
    """What the scoring process is asked before it ends. `finite` was checked on every logit while scoring. trained: the
    digest of the checkpoint, since a recipe that trains on in load() may take less time than any limit can tell."""
    evaluation.add(Check(name="finite", passed=True, detail=f"{scores.nats_NT.size} tokens"))
    before, after = scorer.serving.weights_digest, scorer.weights_digest()
    detail = "state() after scoring against before, and before against the checkpoint"
    if before != trained:
        detail = "state() after load() is not what was loaded: load() has to restore it"
    evaluation.add(Check(name="weights_unchanged", passed=before == after == trained, detail=detail))


def _audit(evaluation: Evaluation, engine: Engine, rows: Rows, scores: Scores, fresh: Starter) -> None:
    """`causal` and `stateless`; Ended when one fails. Only then a third process is asked, to tell them apart."""
    limits, random = limits_on(evaluation.job.device), secret_random()
    evaluation.auditing = True
    with fresh() as auditor:
        probes = draw_probes(scores, *screen(auditor, engine, rows, scores, random), random)
        probed = audit(auditor, engine, rows, scores, probes, limits)
    plain = None
    if not probed.within(limits):
        with _failed_already(evaluation, probed), fresh() as third:
            plain = audit(third, engine, rows, scores, probes[: probed.num_probes], limits, splice=False)
    evaluation.auditing = False
    evaluation.add(*verdict(len(probes), probed, plain, limits))


@contextmanager
def _failed_already(evaluation: Evaluation, probed: Difference) -> Iterator[None]:
    """The third process only tells why. If it crashes, or takes this process with it, or somebody who sees it start
    cancels the run, that is rejected all the same: it could be tried again, with other cuts."""
    detail = f"a fresh process said something else of altered rows, by up to {probed.largest:.2g} nats"
    write_record(evaluation.run.evaluation_file, evaluation.record(Status.REJECTED, f"stateless: {detail}"))
    try:
        yield
    except Ended as end:
        detail += f"; the next one, asked why, ended {end.status}: {end.reason}"
        evaluation.add(Check(name="stateless", passed=False, detail=detail))


def _keep_times(evaluation: Evaluation) -> None:
    longest = max(evaluation.spent.loads)
    detail = f"build() and load() took up to {longest:.1f} s, all forward passes of a process up to "
    detail += f"{max(evaluation.spent.forwards):.1f} s"
    evaluation.add(Check(name="compute", passed=True, detail=detail))
    if evaluation.spent.outside > 0:
        reason = "loading and answering took so much longer than is free, and it counts as training time"
        evaluation.note("compute beside the budget", f"{evaluation.spent.outside:.2f} s", reason)


def _score_curve(
    evaluation: Evaluation, fresh: Starter, engine: Engine, rows: Rows, dataset: Dataset, batch_size: int
) -> tuple[CurvePoint, ...]:
    """The weights kept during training, on the cheap rung; not audited, and never ranked.

    By a process of its own, when the number is there: whoever answers for the final weights gets no others beside them.
    """
    folders = checkpoint.curve_folders(evaluation.run.checkpoint_dir)
    if not folders:
        return ()
    indices, token_bytes_V = _curve_rows(evaluation, rows), dataset.tokenizer.token_bytes()
    points = []
    with fresh([folder / WEIGHTS for folder in folders]) as scorer:
        for folder in folders:
            record = checkpoint.read_curve_record(folder)
            scorer.load(folder / WEIGHTS)
            scores = score_rows(scorer, engine, rows, indices, batch_size)
            points.append(record.scored(_value(scores, rows, token_bytes_V).value))
    return tuple(points)


def _curve_rows(evaluation: Evaluation, rows: Rows) -> np.ndarray:
    return rows_for(Rung.SMOKE if evaluation.job.rung is Rung.SMOKE else Rung.CHEAP, rows.num_rows)


def _num_curve_rows(evaluation: Evaluation, rows: Rows) -> int:
    return len(checkpoint.curve_folders(evaluation.run.checkpoint_dir)) * len(_curve_rows(evaluation, rows))


def _value(scores: Scores, rows: Rows, token_bytes_V: np.ndarray) -> BitsPerByte:
    return bits_per_byte(scores.nats_NT, take(rows, scores.indices)[:, 1:], token_bytes_V)


def _remember_cost(evaluation: Evaluation, key: CostKey, rung: RungChoice, scores: Scores) -> None:
    cost = EvalCost(
        **key.model_dump(),
        rung=rung.rung,
        num_tokens=scores.nats_NT.size,
        seconds=scores.seconds,
        run_id=evaluation.job.run_id,
        measured_at=datetime.now(UTC),
    )
    try:
        append_cost(cost)
    except OSError as error:
        evaluation.note("eval_costs", "not stored", str(error))
