"""Whether a kernel computes what its op's reference does: the rule of every verification, in PyTorch.

Truth is the reference in float64 (on the inputs as rounded to the precision asked for); `plain` is the reference in
that precision. A kernel may lose twice what plain loses, plus roundings of the result's size; in float32 also what one
rounding of the inputs changes. Its largest error is asked, and its mean one: beside a few large numbers the many small
ones of a result could be left out, and no largest error would tell. docs/kernels.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kernels.inputs import Array, dtype_of
from kernels.records import Correctness, Definition, DType, Status, Tolerance, Workload

TORCH_DTYPES = {
    DType.FLOAT64: torch.float64,
    DType.FLOAT32: torch.float32,
    DType.BFLOAT16: torch.bfloat16,
    DType.INT64: torch.int64,
}
_COARSE = (torch.float32, torch.bfloat16, torch.float16)
CHANCES = 6
"""how often signs are drawn: in a row of a few numbers all may be alike, and then nothing that cancels is moved"""
INTERPRETED = 4.0
Results = dict[str, Tensor]
"""{"output y": ..., "gradient of x": ...}"""


def torch_inputs(
    of: Definition, arrays: Mapping[str, Array], precision: DType, device: torch.device | str = "cpu"
) -> dict[str, Tensor | int | float]:
    """Tensors in the dtypes the definition names, requiring gradients where it asks for them."""
    return {
        name: array
        if isinstance(array, int | float)
        else torch.from_numpy(array)
        .to(device, TORCH_DTYPES[dtype_of(of.inputs[name], precision)])
        .requires_grad_(name in of.gradients)
        for name, array in arrays.items()
    }


def torch_cotangents(
    of: Definition, arrays: Mapping[str, np.ndarray], precision: DType, device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    return {
        name: torch.from_numpy(array).to(device, TORCH_DTYPES[dtype_of(of.outputs[name], precision)])
        for name, array in arrays.items()
    }


def in_float64(tensors: Mapping[str, Tensor | int | float]) -> dict[str, Tensor | int | float]:
    """The same values, widened."""
    return {
        name: x.detach().double().requires_grad_(x.requires_grad)
        if isinstance(x, torch.Tensor) and x.is_floating_point()
        else x
        for name, x in tensors.items()
    }


def forward_backward(
    function: Callable,
    of: Definition,
    inputs: Mapping[str, Any],
    cotangents: Mapping[str, Any],
) -> Results:
    """Outputs and the gradients asked for. Whatever the function raises rises."""
    found = function(*inputs.values())
    outputs = found if isinstance(found, tuple) else (found,)
    results = {f"output {name}": y for name, y in zip(of.outputs, outputs, strict=True)}
    if of.gradients:
        wanted = [inputs[name] for name in of.gradients]
        incoming = [cotangents[name].to(y.dtype) for name, y in zip(of.outputs, outputs, strict=True)]
        gradients = torch.autograd.grad(outputs, wanted, incoming)
        results |= {f"gradient of {name}": dx for name, dx in zip(of.gradients, gradients, strict=True)}
    return {name: x.detach() for name, x in results.items()}


class Moved(NamedTuple):
    """By how much each result changes when the inputs change by one rounding of float32: terms of a result may cancel,
    and then its size says nothing of its error."""

    largest: Mapping[str, float]
    mean: Mapping[str, float]
    """on average over its numbers"""


def nothing_moved() -> Moved:
    return Moved({}, {})


@dataclass(frozen=True)
class Truth:
    """What is right, in float64."""

    results: Results
    sizes: Mapping[str, float]
    """of gradients that are one number: sqrt(sum of squares of its terms). Their sum is as large as that where signs
    are random, and may be 0 by chance; its error then is not"""
    moved: Callable[[], Moved] = nothing_moved
    """Seven more times the reference in float64, so only whoever is too far off without it asks"""


def truth_of(
    reference: Callable, of: Definition, workload: Workload, inputs: Mapping[str, Any], cotangents: Mapping[str, Any]
) -> Truth:
    """ValueError, in one line, for a reference that rounds to float32 although its inputs are float64."""
    inputs, cotangents = in_float64(inputs), in_float64(cotangents)
    with _Exact(of):
        right = forward_backward(reference, of, inputs, cotangents)
    sizes = _sizes(reference, of, workload, inputs, cotangents)
    if workload.precision is not DType.FLOAT32:
        return Truth(right, sizes)
    return Truth(right, sizes, partial(_moved, right, reference, of, inputs, cotangents))


def _sizes(reference: Callable, of: Definition, workload: Workload, inputs: Any, cotangents: Any) -> dict[str, float]:
    lengths = of.sizes(workload.axes)
    sizes = {}
    for name, axes in of.sums.items():
        number = inputs[name]
        assert isinstance(number, Tensor)
        spread = number.detach().expand([lengths[axis] for axis in axes]).clone().requires_grad_()
        terms = forward_backward(reference, of, {**inputs, name: spread}, cotangents)[f"gradient of {name}"]
        sizes[f"gradient of {name}"] = float(terms.norm())
    return sizes


def _beside_it(reference: Callable, of: Definition, inputs: Any, cotangents: Any) -> list[Results]:
    """Results when all that comes in is one rounding larger, and when each number is larger or smaller by chance."""
    generator = torch.Generator().manual_seed(0)
    return [
        forward_backward(
            reference, of, _beside(inputs, generator, by_chance), _beside(cotangents, generator, by_chance)
        )
        for by_chance in (False, *[True] * CHANCES)
    ]


def interpreted(tolerance: Tolerance) -> Tolerance:
    """For Triton's interpreter, which rounds towards zero: that is twice as much, and all in one direction."""
    return tolerance.model_copy(update={"roundings_on_average": INTERPRETED})


def _moved(right: Results, reference: Callable, of: Definition, inputs: Any, cotangents: Any) -> Moved:
    others = _beside_it(reference, of, inputs, cotangents)
    largest, mean = (
        {name: max(measure(other[name] - x) for other in others) for name, x in right.items()}
        for measure in (_largest, _mean)
    )
    return Moved(largest, mean)


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _mean(x: Tensor) -> float:
    return float(x.abs().mean()) if x.numel() else 0.0


def _beside(inputs: Mapping[str, Any], generator: torch.Generator, by_chance: bool) -> dict[str, Any]:
    rounding = torch.finfo(torch.float32).eps

    def moved(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return x
        signs = 2 * torch.randint(0, 2, x.shape, generator=generator).to(x.device) - 1 if by_chance else 1
        return (x.detach() * (1 + rounding * signs)).requires_grad_(x.requires_grad)

    return {name: moved(x) for name, x in inputs.items()}


class _Exact(TorchDispatchMode):
    """Refuses what rounds a float64: the truth would be no better than what is compared with it."""

    def __init__(self, of: Definition):
        super().__init__()
        self.of = of

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        wished = kwargs.get("dtype")
        if func is torch.ops.aten._to_copy.default and args[0].dtype is torch.float64 and wished in _COARSE:
            file = self.of.reference["torch"].split("::")[0]
            raise ValueError(
                f"kernels/{self.of.name}/{file} rounds float64 to {str(wished).removeprefix('torch.')}, so it cannot "
                "say what is exact: instead of x.float() write x.to(torch.promote_types(x.dtype, torch.float32))"
            )
        return func(*args, **kwargs)


@dataclass(frozen=True)
class Layout:
    """What a result must look like, and how coarse the numbers are that it was made from."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    rounding: float
    """relative, of the precision the op is run in"""


def expected_layout(of: Definition, workload: Workload) -> dict[str, Layout]:
    sizes = of.sizes(workload.axes)
    specs = {f"output {name}": spec for name, spec in of.outputs.items()}
    specs |= {f"gradient of {name}": of.inputs[name] for name in of.gradients}
    rounding = torch.finfo(TORCH_DTYPES[workload.precision]).eps
    return {
        name: Layout(
            tuple(sizes[axis] for axis in spec.shape or ()), TORCH_DTYPES[dtype_of(spec, workload.precision)], rounding
        )
        for name, spec in specs.items()
    }


def judge(
    found: Results, plain: Results, truth: Truth, layout: Mapping[str, Layout], tolerance: Tolerance
) -> tuple[Status, str, Correctness | None]:
    """The status, what is wrong in words (empty when nothing is), and how near to its limit the worst result came."""
    for name, expected in layout.items():
        x = found[name]
        if type(x) is not torch.Tensor or tuple(x.shape) != expected.shape:
            return Status.INCORRECT_SHAPE, f"{name} is {_kind(x)}, expected a tensor of {list(expected.shape)}", None
        if x.dtype != expected.dtype:
            return Status.INCORRECT_DTYPE, f"{name} is {x.dtype}, expected {expected.dtype}", None
        if not bool(torch.isfinite(x).all()):
            return Status.INCORRECT_NUMERICAL, f"{name} holds NaN or infinity", None
    worst, said = _worst(found, plain, truth, tolerance, layout, nothing_moved())
    if _used(worst) > 1:
        worst, said = _worst(found, plain, truth, tolerance, layout, truth.moved())
    if _used(worst) <= 1:
        return Status.PASSED, "", worst
    return Status.INCORRECT_NUMERICAL, f"{worst.worst} is off by {said}", worst


def _worst(
    found: Results,
    plain: Results,
    truth: Truth,
    tolerance: Tolerance,
    layout: Mapping[str, Layout],
    moved: Moved,
) -> tuple[Correctness, str]:
    compared = [
        _compare(name, found[name], plain[name], truth, tolerance, expected.rounding, moved)
        for name, expected in layout.items()
    ]
    worst, said = max(compared, key=lambda one: _used(one[0]))
    return worst.model_copy(update={"details": {one.worst: _used(one) for one, _ in compared}}), said


def _compare(
    name: str, found: Tensor, plain: Tensor, truth: Truth, tolerance: Tolerance, rounding: float, moved: Moved
) -> tuple[Correctness, str]:
    """By the largest error or the mean one, whichever came nearer to its limit; and that in words."""
    right, least = truth.results[name], 0.0
    error, plains = found.double() - right, plain.double() - right
    if rounding <= torch.finfo(torch.float32).eps:
        least = tolerance.least_size_float32
    largest = max(
        tolerance.roundings * max(_largest(right), least), tolerance.roundings_of_sum * truth.sizes.get(name, 0.0)
    )
    mean = _roundings_on_average(tolerance, right.numel()) * max(_mean(right), least) if right.numel() > 1 else largest
    allowed = tolerance.times_plain * _largest(plains) + rounding * largest + moved.largest.get(name, 0.0)
    allowed_mean = tolerance.times_plain * _mean(plains) + rounding * mean + moved.mean.get(name, 0.0)
    one, other = _limited(name, error, right, allowed, _largest), _limited(name, error, right, allowed_mean, _mean)
    if _used(one) >= _used(other):
        return one, f"{one.max_absolute_error:.3g}, allowed {one.allowed_error:.3g}"
    return other, f"{other.max_absolute_error:.3g} on average, allowed {other.allowed_error:.3g}"


def _roundings_on_average(tolerance: Tolerance, count: int) -> float:
    return tolerance.roundings * (tolerance.roundings_on_average + count**-0.5)


def _limited(
    name: str, error: Tensor, right: Tensor, allowed: float, measure: Callable[[Tensor], float]
) -> Correctness:
    size, off = measure(right), measure(error)
    return Correctness(
        max_absolute_error=off, max_relative_error=off / size if size else off, allowed_error=allowed, worst=name
    )


def _used(one: Correctness) -> float:
    """Share of the allowed error."""
    return one.max_absolute_error / max(one.allowed_error, 1e-300)


def _kind(x: object) -> str:
    return str(list(x.shape)) if type(x) is torch.Tensor else type(x).__name__
