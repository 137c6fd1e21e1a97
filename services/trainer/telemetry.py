"""One StepRecord a step: some ten microseconds in the loop, and a message to the supervisor some times a second."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from shared.contracts import StepRecord

EMA_DECAY = 0.9
SEND_EVERY_S = 0.2
MOST_LINES = 256
MEMORY_EVERY = 20  # asking a device for its peak memory costs more than a line of telemetry


@dataclass(slots=True)
class StepTimes:
    """Seconds of one step, in the order they pass; their sum is the step."""

    input: float = 0.0
    dispatch: float = 0.0
    wait: float = 0.0
    record: float = 0.0

    @property
    def total(self) -> float:
        return self.input + self.dispatch + self.wait + self.record


@dataclass(slots=True)
class Telemetry:
    send: Callable[[tuple[str, ...]], None]
    """takes StepRecords as JSON lines"""
    tokens_per_step: int
    flops_per_token: float | None
    peak_flops: float | None
    """None: not published, and a figure measured beside other work is no peak"""
    loss_ema: float = 0.0
    """not debiased: what a checkpoint carries over"""
    input_seconds: float = 0.0
    step_seconds: float = 0.0
    peak_memory_mb: float = 0.0
    last_loss: float = field(default=float("nan"))
    lines: list[str] = field(default_factory=list)
    """not sent yet"""
    sent_at: float = field(default_factory=perf_counter)

    def record(
        self, step: int, loss: float, progress: float, train_seconds: float, times: StepTimes, recipe: dict
    ) -> None:
        """step counts from 0; recipe: what the recipe says of itself."""
        self.last_loss = loss
        self.loss_ema = EMA_DECAY * self.loss_ema + (1 - EMA_DECAY) * loss
        self.input_seconds += times.input
        self.step_seconds += times.total
        tok_per_sec = self.tokens_per_step / times.total
        line = StepRecord.model_construct(
            step=step,
            progress=progress,
            train_seconds=train_seconds,
            tokens=(step + 1) * self.tokens_per_step,
            loss=loss,
            loss_ema=self.loss_ema / (1 - EMA_DECAY ** (step + 1)),
            tok_per_sec=tok_per_sec,
            mfu_percent=self._mfu_percent(tok_per_sec),
            step_ms=1e3 * times.total,
            input_ms=1e3 * times.input,
            dispatch_ms=1e3 * times.dispatch,
            wait_ms=1e3 * times.wait,
            record_ms=1e3 * times.record,
            peak_vram_mb=self.peak_memory_mb,
            recipe=recipe,
        )
        self.lines.append(line.model_dump_json())
        if len(self.lines) >= MOST_LINES or perf_counter() - self.sent_at >= SEND_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if self.lines:
            self.send(tuple(self.lines))
        self.lines, self.sent_at = [], perf_counter()

    def _mfu_percent(self, tok_per_sec: float) -> float | None:
        if not self.flops_per_token or not self.peak_flops:
            return None
        return 100 * self.flops_per_token * tok_per_sec / self.peak_flops

    @property
    def input_percent(self) -> float:
        return 100 * self.input_seconds / self.step_seconds if self.step_seconds else 0.0
