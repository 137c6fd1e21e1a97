"""What the recipe's process does for the evaluator: tokens in, logits out, nothing else. See recipe_process.py."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from kernels.tried import find_in
from services.evaluator.messages import REQUESTS, Digested, Forward, Forwarded, Load, Loaded, Opened, Serve, Serving
from services.evaluator.weights_digest import weights_digest
from shared.contracts import Status
from shared.engines import last_choice, open_engine_of
from shared.engines.shared_buffer import HostBuffer
from shared.experiment.recipe import blaming, check_protocol, describe_error, load_recipe
from shared.runs.recipe_file import InvalidRecipe
from shared.sandbox.launch import Failed


class Server:
    def __init__(self, request: dict, tokens_fd: int, logits_fd: int):
        self.request = Serve.model_validate(request)
        self.job = self.request.job
        self.shape_BT = (self.request.batch_size, self.request.seq_len)
        self.tokens_BT = mapped(tokens_fd, self.shape_BT, np.uint16)
        self.logits_fd = logits_fd
        self.engine: Any = None
        self.recipe: Any = None
        self.buffer: Any = None

    def open(self) -> Opened:
        """Nothing of the recipe runs in here."""
        self.engine = open_engine_of(self.job, compile="off")
        return Opened(framework_version=self.engine.version, dtype=self.engine.precision.long_name)

    def load(self) -> Serving:
        request, job = self.request, self.job
        self.engine.seed(job.seed)
        find_in(Path(request.recipe).parent / "kernels")
        module = load_recipe(Path(request.recipe))
        with blaming("build() failed", unless=self.engine.is_out_of_memory):
            self.recipe = module.build(job.shape, request.vocab_size, job.seed, self.engine.handle)
        check_protocol(self.recipe)
        self._load_weights(request.weights)
        on_device = self._open_buffer()
        return Serving(
            on_device=on_device,
            attention_backend=last_choice(self.engine, "attention_backend"),
            weights_digest=self._digest(),
            choices=tuple(choice for choice in self.engine.choices if choice.what != "compile"),
        )

    def answer(self, request: dict) -> Any:
        message = REQUESTS[request["kind"]].model_validate(request)
        if isinstance(message, Forward):
            self._forward()
            return Forwarded(peak_vram_mb=self.engine.peak_memory_mb())
        if isinstance(message, Load):
            self._load_weights(message.weights)
            return Loaded()
        return Digested(weights_digest=self._digest())

    def failure(self, error: BaseException) -> Failed:
        if isinstance(error, InvalidRecipe):
            return Failed(status=Status.REJECTED, reason=str(error))
        if self.engine is not None and self.engine.is_out_of_memory(error):
            return Failed(status=Status.OUT_OF_MEMORY, reason=f"{self.job.device} is full evaluating {self.shape_BT}")
        return Failed(status=Status.CRASHED, reason=describe_error(error))

    def _open_buffer(self) -> bool:
        """Device memory when the evaluator offers it and it can be mapped, else the host's."""
        if self.request.ticket is not None:
            from shared.engines import cuda_ipc

            try:
                self.buffer = cuda_ipc.open_shared(self.request.ticket)
                return True
            except RuntimeError as error:
                self.engine.handle.note("logits hand-over", "host memory", str(error))
        shape_BTV = (*self.shape_BT, self.request.vocab_size)
        self.buffer = mapped(self.logits_fd, shape_BTV, np.float32)
        return False

    def _load_weights(self, weights: str) -> None:
        arrays = self.engine.load(Path(weights))
        with blaming("load() failed", unless=self.engine.is_out_of_memory):
            self.recipe.load({"model": arrays})

    def _forward(self) -> None:
        tokens = self.engine.from_host(np.array(self.tokens_BT))
        with blaming("logits() failed", unless=self.engine.is_out_of_memory):
            logits = self.recipe.logits(tokens)
        shape = tuple(getattr(logits, "shape", ()))
        if shape != tuple(self.buffer.shape):
            raise InvalidRecipe(f"logits() returned shape {shape}, expected {tuple(self.buffer.shape)}")
        self.engine.copy_into(self.buffer, logits)

    def _digest(self) -> str:
        with blaming("state() failed", unless=self.engine.is_out_of_memory):
            arrays = self.recipe.state()["model"]
        return weights_digest(self.engine, arrays)


def mapped(descriptor: int, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The evaluator's memory behind `descriptor`, as an array to read or to write."""
    num_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    return HostBuffer(descriptor, num_bytes).mapped().view(dtype).reshape(shape)
