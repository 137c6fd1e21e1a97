"""The trusted parent of a training run: owns the clock, the weights and the kill; imports no framework.

The recipe gets the training rows in the moment the clock starts, as an open descriptor, and cannot open them itself.
The clock stops when the final weights are in memory that this process owns, and at that moment every process of the
recipe is killed. So nothing is learned before the clock or after it, and a patched clock in the recipe's process
shows as a difference between the two.
"""

from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

from services.trainer import kept_kernels
from services.trainer.compile_cache import CompileCache
from services.trainer.limits import (
    KILL_AFTER_S,
    LONGEST_TOKEN_BUDGET_S,
    SMOKE_GRACE_S,
    build_limit_s,
    check_clocks,
    free_before_clock_s,
    most_names,
)
from services.trainer.machine_load import LoadWatch
from services.trainer.measured import Measured
from services.trainer.messages import (
    ANSWERS,
    Buffer,
    Built,
    Kept,
    Ready,
    Rows,
    Saved,
    Start,
    Steps,
    Stored,
    Trained,
)
from services.trainer.metrics_file import MetricsFile
from services.trainer.state_store import RECORD, StateStore
from shared.contracts import Choice, Integrity, Job, Rung, Status, TrainingRecord, VoidCause
from shared.data.dataset import Dataset, open_reference
from shared.data.rows import Rows as PackedRows
from shared.machine.crowd import is_crowded
from shared.machine.device import Device
from shared.machine.gpu_watch import GpuWatch
from shared.machine.hardware import detect
from shared.machine.stops import Stops
from shared.machine.targets import peak_flops
from shared.runs import checkpoint
from shared.runs.directory import RunDirectory, read_record, write_record
from shared.runs.layout import GROUPS
from shared.sandbox.ending import adopt_orphans
from shared.sandbox.launch import Ended, Opened, RecipeProcess, new_scratch
from shared.stages.command import end_on_signals

LOOK_EVERY_S = 1.0
LOOK_WHILE_WRITING_S = 0.02


def supervise(run: RunDirectory) -> TrainingRecord:
    """Trains the run and writes training.json.

    ValueError when the directory or the dataset is not usable, OSError when the disk is not: no record then.
    """
    job = run.job()
    run.verified_recipe()
    dataset = open_reference(job.dataset)
    rows = dataset.rows("train", job.shape.seq_len)
    adopt_orphans()
    with run.stage_locked():
        return _supervise(run, job, dataset, rows)


def _supervise(run: RunDirectory, job: Job, dataset: Dataset, rows: PackedRows) -> TrainingRecord:
    end_on_signals()
    if (record := trained_before(run)) is not None:
        write_record(run.training_file, record)
        return record
    measured = Measured()
    with Stops() as stops:
        try:
            with Supervision(run, job, dataset, measured, stops) as supervision:
                supervision.train(rows)
            record = measured.record(Status.OK, "")
        except Ended as end:
            record = _record_of(end, job, measured, stops.reason())
    if record.void:
        run.discard_checkpoint()  # while all stood still the clock may have run: there is nothing fair to go on from
    write_record(run.training_file, record)
    return record


def _record_of(end: Ended, job: Job, measured: Measured, stopped: str) -> TrainingRecord:
    """Whatever else it looks like: a run that stood still ended by that. One that was late on a CPU that others used is
    told so, since smaller steps may not be what it needs.
    """
    if stopped:
        return measured.record(Status.CANCELLED, stopped, VoidCause.HOST_SLEPT)
    reason = end.reason
    if end.status is Status.TIMED_OUT and is_crowded(job.device, measured.foreign_cpu, measured.stolen_cpu):
        share = (measured.foreign_cpu or 0.0) + (measured.stolen_cpu or 0.0)
        reason += f"; others had {share:.0%} of the processors meanwhile, so first run it again when they are idle"
    return measured.record(end.status, reason, end.void)


def trained_before(run: RunDirectory) -> TrainingRecord | None:
    """The record of a training that came to its end, whose supervisor was killed before it wrote it."""
    restored = checkpoint.latest(run.checkpoint_dir)
    if restored is None or not restored.final:
        return None
    return read_record(run.checkpoint_dir / restored.folder / RECORD, TrainingRecord)


class TrainingClock:
    """Training time: from the hand-over of the rows, going on from what a checkpoint was worth."""

    def __init__(self, spent: float):
        self.spent = spent
        self._origin = 0.0

    def start(self) -> None:
        self._origin = monotonic() - self.spent

    @property
    def seconds(self) -> float:
        return monotonic() - self._origin


class Supervision:
    """One recipe process from its start to its end. Leaving the context kills whatever is left of it."""

    def __init__(self, run: RunDirectory, job: Job, dataset: Dataset, measured: Measured, stops: Stops):
        self.run, self.job, self.dataset, self.measured, self.stops = run, job, dataset, measured, stops
        self.started = monotonic()
        self.restored = checkpoint.latest(run.checkpoint_dir)
        self.clock = TrainingClock(self.restored.train_seconds if self.restored else 0.0)
        self.store = StateStore(run, job, lambda: self.clock.seconds)
        scratch = new_scratch(run.path)
        self.cache = CompileCache(job, scratch, measured.choices, tries_kernels=bool(run.own_kernels()))
        self.process = self._recipe_process(scratch)
        self.gpu = GpuWatch(job.device)
        self.peak_flops = peak_flops(detect(job.device))[0]
        """published of the device; None: there is no MFU"""
        self.early_seconds = 0.0
        """before the clock, and counted all the same"""
        self.load_watch: LoadWatch | None = None
        self.metrics: MetricsFile
        self._stack: ExitStack

    def _recipe_process(self, scratch: Path) -> RecipeProcess:
        return RecipeProcess(
            "services.trainer.recipe_process",
            scratch,
            answers=ANSWERS,
            output=self.run.output_file,
            readable=(self.run.recipe_file, self.run.kernels_dir),
            writable=(self.cache.folder,),
            secret=(
                self.dataset.rows_file("train", self.job.shape.seq_len),
                self.dataset.split_path("validation"),
                kept_kernels.folder(),
            ),
            environment=self.cache.environment,
            gpu=not Device.parse(self.job.device).is_cpu,
        )

    def __enter__(self) -> "Supervision":
        self.run.checkpoint_dir.mkdir(exist_ok=True)
        self.store.go_on_from(self.restored)
        with ExitStack() as stack:
            stack.callback(self.cache.close)
            stack.callback(self.gpu.close)
            stack.enter_context(self.store)
            self.metrics = MetricsFile(self.run, self.restored.step if self.restored else 0)
            stack.callback(self.metrics.close)
            stack.enter_context(self.process)  # ends first: then nobody writes into the buffer any more
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)
        self._keep_load()

    def train(self, rows: PackedRows) -> None:
        ready = self._prepare()
        trained = self._run_clock(rows)
        self._record(ready, trained)

    def _prepare(self) -> Ready:
        """Start to Ready: imports, build, compilation, warm-up. The state's memory is handed out in between."""
        limit = self.started + self.cache.startup_limit_s
        self.process.send(
            Start(
                job=self.job.for_recipe,
                recipe=str(self.run.recipe_file),
                vocab_size=self.dataset.vocab_size,
                resume=self.restored,
                peak_flops=self.peak_flops,
            )
        )
        late = f"was not ready after {self.cache.startup_limit_s:.0f} s"
        opening = monotonic()
        self.process.await_opened(Opened, limit - opening, late)
        self.measured.integrity = self.process.integrity
        self.measured.choices += self.process.choices
        opened = monotonic()
        build_s = min(build_limit_s(self.job, opened - opening), self.cache.startup_limit_s)
        built = self.process.expect(Built, min(build_s, limit - monotonic()), f"had not built after {build_s:.0f} s")
        self._hand_out_memory(built)
        ready = self.process.expect(Ready, limit - monotonic(), late)
        self._keep_kernels(self._early_s(opened))
        self._count_early(opened - opening, self._early_s(opened))
        self.measured.startup_seconds = monotonic() - self.started
        self.measured.attention_backend = ready.attention_backend
        self.measured.hand_over_seconds = ready.hand_over_seconds
        self.measured.resumed_from_step = self.restored.step if self.restored else None
        self.measured.choices += ready.choices
        return ready

    def _early_s(self, opened: float) -> float:
        """What may have been training since the engine opened: seconds of the GPU where it is seen, or of the clock."""
        computed_s = self.gpu.busy_s()
        return monotonic() - opened if computed_s is None else computed_s

    def _count_early(self, opening_s: float, early_s: float) -> None:
        """What of it is not free: the clock begins with it, so it is missing from the training."""
        gpu_seen = self.gpu.busy_s() is not None
        free_s = free_before_clock_s(self.job, opening_s, gpu_seen=gpu_seen)
        if Device.parse(self.job.device).is_cuda and not gpu_seen and isfinite(free_s):
            reason = f"the driver does not tell how long the GPU computed, so {free_s:.0f} s of the clock are free"
            self.measured.choices.append(Choice(what="start-up", chosen="by the clock", reason=reason))
        seconds = max(0.0, early_s + self.cache.kept_early_s - free_s)
        if not seconds:
            return
        self.early_seconds = seconds
        self.clock.spent += seconds
        what = "the GPU computed before the clock" if gpu_seen else "building and warming up took"
        reason = f"{what} so much longer than the {free_s:.1f} s that are free, and it counts as training time"
        self.measured.choices.append(Choice(what="start-up", chosen=f"{seconds:.2f} s", reason=reason))
        if not self.job.budget.covers(self.clock.spent):
            raise Ended(Status.TIMED_OUT, f"start-up took the whole budget: {seconds:.1f} s more than is free")

    def _keep_kernels(self, early_s: float) -> None:
        """Now, because the process has no row yet. One without a sandbox, or resumed, may find some. It goes on
        meanwhile, so what counts is read again afterwards."""
        if self.restored is None and self.process.integrity is not Integrity.NONE:
            self.cache.keep(self.job.run_id, self.started, early_s)

    def _hand_out_memory(self, built: Built) -> None:
        specs = {"model": built.model, "optimizer": built.optimizer, "rng": built.rng}
        self.process.send(Buffer(), self.store.open(specs))
        self.measured.num_params = self.store.num_elements("model")

    def _run_clock(self, rows: PackedRows) -> Trained:
        """From handing the rows over to having the weights. No process of the recipe is left when it returns."""
        handed = Rows(num_rows=rows.num_rows, seq_len=rows.seq_len, spent_seconds=self.clock.spent)
        files = (self.dataset.rows_file("train", rows.seq_len), *self._checkpoint_files())
        with ExitStack() as stack:
            opened = [stack.enter_context(open(path, "rb")) for path in files]
            self.load_watch = LoadWatch()
            self.process.limit_traces(names=most_names(self.job))
            self.clock.start()
            self.process.send(handed, *(file.fileno() for file in opened))
        while not isinstance(message := self._training_message(), Trained):
            self._take(message)
        seconds = self.clock.seconds
        self.process.end()
        self._check_gpus()
        self._keep_load()
        self.metrics.expect(message.num_steps)
        self._measure(message, seconds, rows)
        if stopped := self.stops.reason():
            raise Ended(Status.CANCELLED, stopped, VoidCause.HOST_SLEPT)
        check_clocks(self.job, message, seconds)
        return message

    def _keep_load(self) -> None:
        """Once, however the run ends."""
        watch, self.load_watch = self.load_watch, None
        if watch is None or watch.load is None:
            return
        self.measured.foreign_cpu, self.measured.stolen_cpu = watch.load.foreign, watch.load.stolen
        if is_crowded(self.job.device, watch.load.foreign, watch.load.stolen):
            self.measured.choices.append(watch.load.choice())

    def _checkpoint_files(self) -> list[Path]:
        """What training goes on from. Handed over when the clock runs, since it may hold training rows too."""
        if self.restored is None:
            return []
        return [self.run.checkpoint_dir / self.restored.folder / f"{group}.safetensors" for group in GROUPS]

    def _measure(self, trained: Trained, seconds: float, rows: PackedRows) -> None:
        measured, shape = self.measured, self.job.shape
        measured.training_seconds = seconds
        measured.num_steps = trained.num_steps
        measured.total_tokens = trained.num_steps * shape.total_batch_size
        measured.tok_per_sec = measured.total_tokens / (seconds - self.early_seconds)
        measured.epochs = trained.num_steps * shape.rows_per_step / rows.num_rows

    def _take(self, message: Any) -> None:
        if isinstance(message, Steps):
            self.metrics.write(message.lines)
        elif isinstance(message, Saved):
            self.metrics.expect(message.step)
            self.store.save_checkpoint(message.step, message.loss_ema)
        elif isinstance(message, Kept):
            self.metrics.expect(message.step, under_way=1)
            self.store.save_curve_point(message.step, message.progress)
        else:
            raise Ended(Status.REJECTED, f"the recipe's process said {message.kind} out of turn")

    def _training_message(self) -> Any:
        """The next one; meanwhile the limit is watched and what was written is acknowledged."""
        self._look()
        while (left := self._time_left()) > 0 and not self.process.waiting(min(left, self._patience_s())):
            self._look()
        return self.process.receive(left, f"had not handed its weights over long after {self.job.budget}")

    def _look(self) -> None:
        self._acknowledge()
        self._check_gpus()
        if self.load_watch:
            self.load_watch.look()

    def _check_gpus(self) -> None:
        if self.gpu.strayed:
            raise Ended(Status.REJECTED, f"compute: the recipe used other GPUs than {self.job.device}")

    def _acknowledge(self) -> None:
        if self.store.finished():
            self.process.send(Stored())

    def _patience_s(self) -> float:
        return LOOK_WHILE_WRITING_S if self.store.is_writing() else LOOK_EVERY_S

    def _time_left(self) -> float:
        """Until the run is stopped by force. A token budget ends by itself, or after a day."""
        if self.job.budget.seconds is None:
            return LONGEST_TOKEN_BUDGET_S
        grace = SMOKE_GRACE_S if self.job.rung is Rung.SMOKE else KILL_AFTER_S
        return max(0.0, self.job.budget.seconds + grace - self.clock.seconds)

    def _record(self, ready: Ready, trained: Trained) -> None:
        """Writes the weights, with what is known of the training beside them: from then on it has come to its end."""
        since, measured = monotonic(), self.measured
        measured.last_loss = trained.last_loss
        measured.input_percent = trained.input_percent
        measured.peak_vram_mb = trained.peak_vram_mb
        if ready.flops_per_token and measured.tok_per_sec and self.peak_flops:
            self._record_mfu(100 * ready.flops_per_token * measured.tok_per_sec / self.peak_flops)
        self.store.save_final(trained.num_steps, measured.record(Status.OK, ""))
        measured.finish_seconds = monotonic() - since

    def _record_mfu(self, percent: float) -> None:
        if percent <= 100:
            self.measured.mfu_percent = percent
            return
        reason = f"the recipe's flops_per_token() and count of steps make it {percent:,.0f} % of the device's peak"
        self.measured.choices.append(Choice(what="mfu", chosen="left out", reason=reason))
