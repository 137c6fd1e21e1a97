"""Random inputs of an op, the same numbers for every framework and precision."""

import numpy as np

from kernels.records import Definition, DType, ScalarInput, TensorSpec, Workload

Array = np.ndarray | int | float


def random_inputs(of: Definition, workload: Workload, generator: np.random.Generator) -> dict[str, Array]:
    """float32 and int64 arrays by name, and Python numbers, in the definition's order."""
    sizes = of.sizes(workload.axes)
    return {
        name: asked.value if isinstance(asked := workload.inputs[name], ScalarInput) else _draw(spec, sizes, generator)
        for name, spec in of.inputs.items()
    }


def random_cotangents(of: Definition, workload: Workload, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """One array per output, what its gradient comes in with."""
    sizes = of.sizes(workload.axes)
    return {name: _draw(spec, sizes, generator) for name, spec in of.outputs.items()}


def _draw(spec: TensorSpec, sizes: dict[str, int], generator: np.random.Generator) -> np.ndarray:
    shape = tuple(sizes[axis] for axis in spec.shape or ())
    if spec.dtype is DType.INT64:
        if spec.below is None:
            raise ValueError("a random integer needs `below`, the axis that bounds it")
        return generator.integers(0, sizes[spec.below], shape)
    numbers = generator.standard_normal(shape, dtype=np.float32) * np.float32(spec.scale)
    if spec.offset:
        numbers += generator.standard_normal((*shape[:-1], 1), dtype=np.float32) * np.float32(spec.offset)
    return np.asarray(numbers)


def dtype_of(spec: TensorSpec, precision: DType) -> DType:
    """Concrete: `precision` where the spec leaves it open. In float64 every float is float64."""
    if precision is DType.FLOAT64 and spec.dtype is not DType.INT64:
        return DType.FLOAT64
    return precision if spec.dtype is DType.PRECISION else spec.dtype
