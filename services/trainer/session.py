"""What the recipe's process does: build, warm up, wait for the rows, train. Runs fenced; see recipe_process.py."""

from pathlib import Path
from typing import Any

from kernels.tried import find_in
from services.trainer.checkpoints import Saver
from services.trainer.clock import BudgetClock
from services.trainer.hand_over import HandOver, describe
from services.trainer.loop import Diverged, Loop
from services.trainer.messages import Buffer, Built, Ready, Rows, Start, Steps, Trained
from services.trainer.telemetry import Telemetry
from services.trainer.warmup import read_state, warm_up
from shared.contracts import Status
from shared.data.rows import Rows as PackedRows
from shared.engines import last_choice, open_engine_of
from shared.engines.shared_buffer import HostBuffer
from shared.experiment.recipe import blaming, check_protocol, describe_error, load_recipe
from shared.runs.recipe_file import InvalidRecipe
from shared.sandbox.channel import Channel
from shared.sandbox.launch import Failed, Opened, send_opened

ANSWER_TIMEOUT_S = 60.0


class Session:
    """One training run as this process sees it."""

    def __init__(self, channel: Channel, request: dict):
        self.channel, self.start = channel, Start.model_validate(request)
        self.job = self.start.job
        self.engine: Any = None
        self.recipe: Any = None
        self.flops_per_token: float | None = None

    def run(self) -> None:
        self._open_engine()
        send_opened(self.channel, Opened())
        self._build()
        hand_over = self._offer_state()
        warm_up(self.recipe, self.engine, self.job, self.start.vocab_size, hand_over)
        if hasattr(self.recipe, "flops_per_token"):
            self.flops_per_token = float(self.recipe.flops_per_token())
        self.channel.send(self._ready(hand_over))
        message, (rows_fd, *state_fds) = self.channel.receive(ANSWER_TIMEOUT_S)
        self._train(Rows.model_validate(message), rows_fd, state_fds, hand_over)

    def failure(self, error: Exception) -> Failed:
        if isinstance(error, InvalidRecipe):
            return Failed(status=Status.INVALID, reason=str(error))
        if isinstance(error, Diverged):
            return Failed(status=Status.DIVERGED, reason=str(error))
        if self.engine is not None and self.engine.is_out_of_memory(error):
            return Failed(status=Status.OUT_OF_MEMORY, reason=f"{self.job.device} is full with {self.job.shape}")
        return Failed(status=Status.CRASHED, reason=describe_error(error))

    def _open_engine(self) -> None:
        """Nothing of the recipe runs in here."""
        self.engine = open_engine_of(self.job)

    def _build(self) -> None:
        job = self.job
        self.engine.seed(job.seed)
        find_in(Path(self.start.recipe).parent / "kernels")
        module = load_recipe(Path(self.start.recipe))
        with blaming("build() failed", unless=self.engine.is_out_of_memory):
            self.recipe = module.build(job.shape, self.start.vocab_size, job.seed, self.engine.handle)
        check_protocol(self.recipe)

    def _restore(self, state_fds: list[int], hand_over: HandOver) -> None:
        arrays = hand_over.read_files(state_fds)
        self.engine.set_rng_state(arrays.pop("rng"))
        with blaming("load() failed"):
            self.recipe.load(arrays)

    def _offer_state(self) -> HandOver:
        """Tells the supervisor what the state consists of, and maps the memory it answers with."""
        state = {**read_state(self.recipe, self.engine), "rng": self.engine.rng_state()}
        specs = describe(self.engine, state)
        hand_over = HandOver(self.engine, specs)
        self.channel.send(Built(model=specs["model"], optimizer=specs["optimizer"], rng=specs["rng"]))
        message, (descriptor,) = self.channel.receive(ANSWER_TIMEOUT_S)
        Buffer.model_validate(message)
        hand_over.attach(HostBuffer(descriptor, hand_over.layout.num_bytes).mapped())
        return hand_over

    def _ready(self, hand_over: HandOver) -> Ready:
        return Ready(
            flops_per_token=self.flops_per_token,
            attention_backend=last_choice(self.engine, "attention_backend"),
            hand_over_seconds=hand_over.seconds,
            choices=tuple(self.engine.choices),
        )

    def _train(self, handed: Rows, rows_fd: int, state_fds: list[int], hand_over: HandOver) -> None:
        rows = PackedRows.from_descriptor(rows_fd, handed.num_rows, handed.seq_len)
        resumed = self.start.resume
        clock = BudgetClock(self.job.budget, handed.spent_seconds, resumed.tokens if resumed else 0, hand_over.seconds)
        if state_fds:
            self._restore(state_fds, hand_over)
        tokens, peak = self.job.shape.total_batch_size, self.start.peak_flops
        telemetry = Telemetry(self._send_steps, tokens, self.flops_per_token, peak)
        telemetry.loss_ema = resumed.loss_ema if resumed else 0.0
        saver = Saver(self.job, self.recipe, self.engine, clock, telemetry, hand_over, self.channel)
        try:
            num_steps = Loop(self.recipe, self.engine, rows, self.job.shape, clock, telemetry, saver).run()
        finally:
            telemetry.flush()
        saver.hand_over_final()
        self.channel.send(
            Trained(
                num_steps=num_steps,
                train_seconds=clock.seconds,
                last_loss=telemetry.last_loss,
                input_percent=telemetry.input_percent,
                peak_vram_mb=telemetry.peak_memory_mb,
            )
        )

    def _send_steps(self, lines: tuple[str, ...]) -> None:
        self.channel.send(Steps(lines=lines))
