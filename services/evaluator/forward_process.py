"""The evaluator's handle on a recipe process: give it tokens, get logits, know when it dies or stalls."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from services.evaluator.messages import Digest, Digested, Failed, Forward, Forwarded, Load, Loaded, Serve, Serving
from shared.contracts import Contract, Job, Status
from shared.engines.handover import HostBuffer, share_on_device
from shared.runs.directory import RunDirectory
from shared.sandbox.channel import ChannelClosed
from shared.sandbox.launch import receive, start_fenced

ANSWERS = {"serving": Serving, "forwarded": Forwarded, "loaded": Loaded, "digested": Digested, "failed": Failed}


class Refused(Exception):
    """There will be no number: the recipe process failed, broke the protocol, or a check did not pass."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


class ForwardProcess:
    """One sandboxed process with the recipe and its weights. As a context manager it leaves nothing behind: what it
    prints goes with its scratch folder, since it could print the validation rows.

    Start-up runs in the background until `serving` is first asked for. deadline: of the whole evaluation, in
    seconds of the monotonic clock.
    """

    def __init__(
        self, run: RunDirectory, job: Job, *, name: str, weights: Path, vocab_size: int, shape_BT: tuple[int, int],
        deadline: float, secret: Sequence[Path],
    ):  # fmt: skip
        self.run, self.job, self.name, self.deadline, self.secret = run, job, name, deadline, secret
        self.tokens = HostBuffer.create(shape_BT, np.uint16)
        self.host_logits = HostBuffer.create((*shape_BT, vocab_size), np.float32)
        self.device_logits, self.why_host = share_on_device(job.device, (*shape_BT, vocab_size))
        self.request = Serve(
            job=job,
            recipe=str(run.recipe_file),
            weights=str(weights),
            vocab_size=vocab_size,
            batch_size=shape_BT[0],
            seq_len=shape_BT[1],
            ticket=self.device_logits.ticket if self.device_logits else None,
        )
        self.scratch = run.path / f"scratch-{name}"
        self._serving: Serving | None = None
        self.peak_vram_mb = 0.0

    def __enter__(self) -> "ForwardProcess":
        self.child, self.channel = start_fenced(
            "services.evaluator.recipe_process",
            self.run,
            scratch=self.scratch,
            output=self.scratch / "output.log",
            readable=(self.run.checkpoint_dir,),
            secret=self.secret,
        )
        self._send(self.request, self.tokens.descriptor, self.host_logits.descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.channel.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.tokens.close()
        self.host_logits.close()

    @property
    def serving(self) -> Serving:
        """Waits until the recipe is loaded."""
        if self._serving is None:
            self._serving = self._expect(Serving)
        return self._serving

    def logits(self, tokens_nT: np.ndarray) -> Any:
        """tokens [n <= B, T] -> logits [n, T, V]: a view that the next call overwrites.

        The batch is always full, the last row repeated, so that a row's numbers do not depend on its company's size.
        """
        n, size = len(tokens_nT), len(self.tokens.array)
        self.tokens.array[:n] = tokens_nT
        self.tokens.array[n:] = tokens_nT[-1]
        on_device = self.serving.on_device
        self.peak_vram_mb = self._ask(Forward(), Forwarded).peak_vram_mb
        assert n <= size
        array = self.device_logits.array if on_device and self.device_logits else self.host_logits.array
        return array[:n]

    def load(self, weights: Path) -> None:
        assert self.serving
        self._ask(Load(weights=str(weights)), Loaded)

    def weights_digest(self) -> str:
        return self._ask(Digest(), Digested).weights_digest

    def _ask(self, request: Contract, answer: type[Contract]) -> Any:
        self._send(request)
        return self._expect(answer)

    def _send(self, message: Contract, *descriptors: int) -> None:
        try:
            self.channel.send(message, fds=descriptors)
        except (ChannelClosed, TimeoutError):
            raise self._death() from None

    def _expect(self, model: type[Contract]) -> Any:
        try:
            content, fds = receive(self.child, self.channel, self.deadline - monotonic())
            kind = str(content.get("kind"))
            if fds or kind not in ANSWERS:
                raise ValueError(f"unknown message {kind!r}")
            message = ANSWERS[kind].model_validate(content)
        except TimeoutError:
            raise Refused(Status.TIMED_OUT, "the evaluation took longer than ARE_EVAL_TIMEOUT_S") from None
        except ChannelClosed:
            raise self._death() from None
        except ValueError as error:
            raise Refused(Status.REJECTED, f"the recipe's process broke the protocol: {error}") from None
        if isinstance(message, Failed):
            raise Refused(message.status, message.reason)
        if not isinstance(message, model):
            raise Refused(Status.REJECTED, f"the recipe's process said {kind} out of turn")
        return message

    def _death(self) -> Refused:
        try:
            self.child.wait(5.0)
        except TimeoutError:
            return Refused(Status.REJECTED, "the recipe's process closed its channel and went on")
        status = Status.OUT_OF_MEMORY if self.child.was_oom_killed() else Status.CRASHED
        return Refused(status, f"the recipe's process died in evaluation: {self.child.exit_reason()}")


def batches(items: Sequence[int] | np.ndarray, size: int) -> list[np.ndarray]:
    return [np.asarray(items[start : start + size]) for start in range(0, len(items), size)]
