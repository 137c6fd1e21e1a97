"""The trusted parent of a training run: owns the clock and the kill, imports no framework.

The recipe gets the training rows in the moment the clock starts, as an open descriptor, and cannot open them
itself. So nothing can be learned from the data before the budget runs, and a patched clock in the recipe's
process shows as a difference between the two clocks.
"""

import errno
import os
import shutil
import signal
from dataclasses import dataclass, field
from time import monotonic
from types import FrameType
from typing import Any

from services.trainer.clock import LONGEST_OVERRUN_S
from services.trainer.compile_cache import cache_environment, compile_cache
from services.trainer.messages import Checkpointed, Failed, Finished, Ready, Rows, Start, Trained
from services.trainer.trusted_clock import LOOK_EVERY_S, TrustedClock
from shared.contracts import Contract, Job, Status, TrainingRecord
from shared.data.dataset import Dataset, open_reference
from shared.data.rows import Rows as PackedRows
from shared.files import write_atomic
from shared.machine.hardware import detect
from shared.machine.targets import peak_flops
from shared.runs import checkpoint
from shared.runs.directory import RunDirectory, write_record
from shared.sandbox.channel import Channel, ChannelClosed
from shared.sandbox.launch import receive, start_fenced
from shared.sandbox.processes import Child, adopt_orphans
from shared.settings import settings

CLOCK_SLACK_S = 1.0
CLOCK_SLACK_SHARE = 0.01
FINISH_SLACK_S = 5.0
SLOWEST_DISK_BYTES_PER_S = 25e6
KILL_AFTER_S = 4.0
SMOKE_GRACE_S = 120.0  # a smoke run is never ranked, and must pass on a machine that is busy with something else
LONGEST_TOKEN_BUDGET_S = 24 * 3600.0


class Ended(Exception):
    """The run is over before its time."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass
class Measured:
    """What is known of the run so far; becomes the TrainingRecord however it ends."""

    values: dict[str, Any] = field(default_factory=dict)

    def record(self, status: Status, reason: str) -> TrainingRecord:
        return TrainingRecord(status=status, reason=reason, **self.values)


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
    signal.signal(signal.SIGTERM, _cancel)
    signal.signal(signal.SIGINT, _cancel)
    measured = Measured()
    try:
        with Supervision(run, job, dataset, measured) as supervision:
            supervision.train(rows)
        record = measured.record(Status.OK, "")
    except Ended as end:
        record = measured.record(end.status, end.reason)
    write_record(run.training_file, record)
    return record


def _cancel(number: int, frame: FrameType | None) -> None:
    """Once: a second signal would interrupt the clearing up."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Ended(Status.CANCELLED, f"cancelled by {signal.Signals(number).name}")


class Supervision:
    """One recipe process from its start to its end. Leaving the context kills whatever is left of it."""

    def __init__(self, run: RunDirectory, job: Job, dataset: Dataset, measured: Measured):
        self.run, self.job, self.dataset, self.measured = run, job, dataset, measured
        self.started = monotonic()
        self.scratch = run.path / "scratch"
        self.restored = checkpoint.latest(run.checkpoint_dir)
        self.clock = TrustedClock(run)
        self.channel: Channel
        self.child: Child

    def __enter__(self) -> "Supervision":
        self.run.checkpoint_dir.mkdir(exist_ok=True)
        cache = compile_cache(self.job, self.scratch)
        self.child, self.channel = start_fenced(
            "services.trainer.recipe_process",
            self.run,
            scratch=self.scratch,
            output=self.run.output_file,
            writable=(self.run.checkpoint_dir, cache),
            secret=(self.dataset.rows_file("train", self.job.shape.seq_len), self.dataset.split_path("validation")),
            environment=cache_environment(cache),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.channel.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def train(self, rows: Any) -> None:
        ready = self._prepare()
        self._run_clock(rows)
        self._finish(ready)

    def _prepare(self) -> Ready:
        """Start to Ready: imports, build, compilation and warm-up."""
        truncate_metrics(self.run, self.restored.step if self.restored else 0)
        request = Start(
            job=self.job,
            recipe=str(self.run.recipe_file),
            checkpoint_dir=str(self.run.checkpoint_dir),
            vocab_size=self.dataset.vocab_size,
            resume=self.restored is not None,
            peak_flops=peak_flops(detect(self.job.device))[0],
        )
        with open(self.run.metrics_file, "ab") as metrics:
            self._send(request, metrics.fileno())
        ready = self._expect(Ready, settings().startup_timeout_s, "was not ready")
        self.measured.values |= {
            "startup_seconds": monotonic() - self.started,
            "num_params": ready.num_params,
            "attention_backend": ready.attention_backend,
            "resumed_from_step": ready.resumed_from_step,
            "choices": ready.choices,
        }
        return ready

    def _run_clock(self, rows: Any) -> None:
        """From handing the rows over to Trained, by this process's clock."""
        handed = Rows(num_rows=rows.num_rows, seq_len=rows.seq_len, spent_seconds=self.clock.spent)
        with open(self.dataset.rows_file("train", rows.seq_len), "rb") as file:
            self.clock.start()
            self._send(handed, file.fileno())
        message = self._training_message()
        while isinstance(message, Checkpointed):
            self.clock.announce()
            message = self._training_message()
        seconds = self.clock.seconds
        if not isinstance(message, Trained):
            raise Ended(Status.REJECTED, f"the recipe's process said {message.kind} out of turn")
        self.measured.values |= {
            "training_seconds": seconds,
            "num_steps": message.num_steps,
            "total_tokens": message.total_tokens,
            "tok_per_sec": message.total_tokens / seconds,
            "epochs": message.num_steps * self.job.shape.rows_per_step / rows.num_rows,
        }
        check_clocks(self.job, message, seconds)

    def _training_message(self) -> Any:
        """The next one; until it comes the clock is written down every second."""
        while (left := self._time_left()) > 0 and not self.channel.waiting(min(left, LOOK_EVERY_S)):
            self.clock.look()
            if self.child.poll() is not None:
                break
        return self._receive(left, f"still trained long after {self.job.budget}")

    def _time_left(self) -> float:
        """Until the run is stopped by force. A token budget ends by itself, or after a day."""
        if self.job.budget.seconds is None:
            return LONGEST_TOKEN_BUDGET_S
        grace = SMOKE_GRACE_S if self.job.rung == "smoke" else KILL_AFTER_S
        return max(0.0, self.job.budget.seconds + grace - self.clock.seconds)

    def _finish(self, ready: Ready) -> None:
        since = monotonic()
        finished = self._expect(Finished, settings().finish_timeout_s, "was still writing its last checkpoint")
        finish_seconds = monotonic() - since
        self._check_final_checkpoint(finish_seconds)
        values = self.measured.values
        values |= {
            "finish_seconds": finish_seconds,
            "last_loss": finished.last_loss,
            "input_percent": finished.input_percent,
            "peak_vram_mb": finished.peak_vram_mb,
        }
        if ready.flops_per_token:
            values["mfu_percent"] = 100 * ready.flops_per_token * values["tok_per_sec"] / ready.peak_flops

    def _check_final_checkpoint(self, finish_seconds: float) -> None:
        """It is there, and writing it took no longer than writing it takes: what lies in between is not timed."""
        num_bytes = sum(path.stat().st_size for path in self.run.checkpoint_dir.rglob("*") if path.is_file())
        allowed = FINISH_SLACK_S + num_bytes / SLOWEST_DISK_BYTES_PER_S
        if finish_seconds > allowed:
            reason = f"the last checkpoint took {finish_seconds:.0f} s, {allowed:.0f} s are allowed for its size"
            raise Ended(Status.REJECTED, reason)
        try:
            record = checkpoint.latest(self.run.checkpoint_dir)
        except ValueError as error:
            raise Ended(Status.REJECTED, str(error)) from None
        if record is None or not record.final or record.recipe_sha != self.job.recipe_sha:
            raise Ended(Status.REJECTED, "the recipe's process left no final checkpoint")

    def _send(self, message: Contract, descriptor: int) -> None:
        try:
            self.channel.send(message, fds=(descriptor,))
        except (ChannelClosed, TimeoutError):
            raise self._death() from None

    def _expect(self, model: type[Contract], timeout_s: float, late: str) -> Any:
        message = self._receive(timeout_s, f"{late} after {timeout_s:.0f} s")
        if not isinstance(message, model):
            raise Ended(Status.REJECTED, f"the recipe's process said {message.kind} out of turn")
        return message

    def _receive(self, timeout_s: float, late: str) -> Any:
        """The next message. Ended when it is a failure, not a message, too late, or the process is gone."""
        try:
            content, fds = receive(self.child, self.channel, timeout_s)
            for descriptor in fds:
                os.close(descriptor)
            message = parse(content)
        except TimeoutError:
            raise Ended(Status.TIMED_OUT, f"the recipe's process {late}") from None
        except ChannelClosed:
            raise self._death() from None
        except ValueError as error:
            raise Ended(Status.REJECTED, f"the recipe's process broke the protocol: {error}") from None
        if isinstance(message, Failed):
            if message.disk_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.run.path))
            raise Ended(message.status, message.reason)
        return message

    def _death(self) -> Ended:
        try:
            self.child.wait(5.0)
        except TimeoutError:
            return Ended(Status.CRASHED, "the recipe's process closed its channel and went on")
        status = Status.OUT_OF_MEMORY if self.child.was_oom_killed() else Status.CRASHED
        return Ended(status, f"the recipe's process died: {self.child.exit_reason()}")


def parse(content: dict) -> Any:
    """ValueError (pydantic's) when it is none of the messages a recipe's process may send."""
    kinds = {"ready": Ready, "checkpointed": Checkpointed, "trained": Trained, "finished": Finished, "failed": Failed}
    kind = str(content.get("kind"))
    if kind not in kinds:
        raise ValueError(f"unknown message {kind!r}")
    return kinds[kind].model_validate(content)


def check_clocks(job: Job, trained: Trained, seconds: float) -> None:
    """The two clocks must agree, and a time budget may be overrun by at most one step, and no long one."""
    slack = CLOCK_SLACK_S + CLOCK_SLACK_SHARE * seconds
    if abs(trained.train_seconds - seconds) > slack:
        reason = f"the recipe's clock says {trained.train_seconds:.1f} s, the supervisor's {seconds:.1f} s"
        raise Ended(Status.REJECTED, reason)
    budget = job.budget.seconds
    if budget is None or job.rung == "smoke" or seconds <= budget + slack:
        return
    step = min(seconds / max(1, trained.num_steps), LONGEST_OVERRUN_S)
    if seconds > budget + slack + step:
        reason = f"trained {seconds:.1f} s on a budget of {budget:g} s in {trained.num_steps} steps: take smaller steps"
        raise Ended(Status.TIMED_OUT, reason)


def truncate_metrics(run: RunDirectory, num_steps: int) -> None:
    """Drops telemetry after the checkpoint that training goes on from."""
    kept = [step.model_dump_json() + "\n" for step in run.steps() if step.step < num_steps]
    write_atomic(run.metrics_file, "".join(kept))
