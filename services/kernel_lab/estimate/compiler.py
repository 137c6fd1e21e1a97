"""torch.compile, as a recipe finds it in an estimate: graphs are lowered for an absent GPU, run as shapes, counted."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from functorch.compile import make_boxed_func
from torch._inductor.compile_fx import compile_fx
from torch.fx import GraphModule

from kernels.op_cost import stored_bytes
from services.kernel_lab.estimate.lowering import Lowered, lower
from services.kernel_lab.estimate.recorder import Recorder
from shared.kernel_lab.estimate import Phase
from shared.machine.gpus import Gpu

REAL_COMPILE = torch.compile
OF_OTHER_BACKENDS = ("backend", "mode", "options", "dynamic", "disable")


class AbsentCompiler:
    """graphs: compiled functions are replayed as CUDA graphs, one launch of the host each."""

    def __init__(self, gpu: Gpu, recorder: Recorder, graphs: bool):
        self.gpu, self.recorder, self.graphs = gpu, recorder, graphs
        self.lowered: list[tuple[Phase, Lowered, int]] = []
        """with the bytes of each graph's results"""

    def compile(self, model: Callable | None = None, **options: Any) -> Any:
        kept = {name: value for name, value in options.items() if name not in OF_OTHER_BACKENDS}
        return REAL_COMPILE(model, backend=self._backend, dynamic=False, **kept)

    def _backend(self, module: GraphModule, inputs: Sequence[Any]) -> Any:
        return compile_fx(module, inputs, inner_compile=self._inner)  # type: ignore[arg-type]

    def _inner(
        self,
        module: GraphModule,
        inputs: Sequence[Any],
        is_backward: bool = False,
        is_inference: bool = False,
        **_: Any,
    ) -> Callable:
        phase = Phase.BACKWARD if is_backward else Phase.OPTIMIZER if is_inference else Phase.FORWARD
        with self.recorder.paused():
            lowered = lower(module, inputs, self.gpu, is_backward=is_backward, is_inference=is_inference)
        results = _results(module)
        new = [one.meta["val"] for one in results if isinstance(one, torch.fx.Node) and one.op != "placeholder"]
        self.lowered.append((phase, lowered, sum(map(stored_bytes, new))))
        names = [node.name for node in module.graph.nodes if node.op == "placeholder"]

        def run(*arguments: Any) -> list[Any]:
            self.recorder.ran(phase, lowered.kernels, self.graphs)
            given = dict(zip(names, arguments, strict=True))
            with self.recorder.paused():
                return [_value(one, given) for one in results]

        return make_boxed_func(run)


def _results(module: GraphModule) -> list[Any]:
    (output,) = (node for node in module.graph.nodes if node.op == "output")
    return list(output.args[0])


def _value(result: Any, given: dict[str, Any]) -> Any:
    """A new array of the right shape; an argument that is passed through is itself."""
    if not isinstance(result, torch.fx.Node):
        return result
    if result.op == "placeholder":
        return given[result.name]
    value = result.meta["val"]
    return torch.empty_strided(value.size(), value.stride(), dtype=value.dtype, device=value.device)
