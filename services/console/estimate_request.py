"""From the options of `autoresearch lab estimate` to an EstimateRequest: presets, changes and names resolved."""

from pathlib import Path
from typing import Literal

from shared.contracts import Shape
from shared.experiment.presets import find_preset
from shared.experiment.request import validated
from shared.kernel_lab.estimate import EstimateRequest, Side
from shared.machine.gpus import MAC, find_device
from shared.runs.shipped import default_recipe

Recipes = tuple[Path | None, Path | None]
KernelSets = tuple[dict[str, str], dict[str, str] | None]


def make_request(
    *,
    recipes: Recipes,
    kernel_sets: KernelSets,
    preset: str,
    changes: dict[str, str],
    target: str,
    compile_kernels: bool,
    answer: Path,
) -> EstimateRequest:
    """ValueError for what does not exist or does not fit together."""
    find_device(target)
    if target == MAC.target and compile_kernels:
        raise ValueError("--compile-kernels is about Triton's kernels; Metal's compiler runs on a Mac only")
    return EstimateRequest(
        sides=sides(recipes, kernel_sets, "mlx" if target == MAC.target else "torch"),
        shape=changed_shape(preset, {key: value for key, value in changes.items() if key != "compile"}),
        target=target,
        compile=compile_mode(changes.get("compile", "auto")),
        compile_kernels=compile_kernels,
        answer=answer,
    )


def sides(recipes: Recipes, kernel_sets: KernelSets, engine: str) -> tuple[Side, ...]:
    first, second = recipes
    kernels, other_kernels = kernel_sets
    ours = _side(first or default_recipe(engine), kernels)
    if second is None and other_kernels is None:
        return (ours,)
    return ours, _side(second or ours.recipe, kernels if other_kernels is None else other_kernels)


def _side(recipe: Path, kernels: dict[str, str]) -> Side:
    if not recipe.is_file():
        raise ValueError(f"the recipe {recipe} does not exist")
    name = " ".join([recipe.stem, *(f"{op}={kernel}" for op, kernel in kernels.items())])
    return Side(name=name, recipe=recipe.resolve(), kernels=kernels)


def changed_shape(preset: str, changes: dict[str, str]) -> Shape:
    unknown = sorted(set(changes) - set(Shape.model_fields))
    if unknown:
        keys = ", ".join([*Shape.model_fields, "compile"])
        raise ValueError(f"unknown key '{', '.join(unknown)}': here --set takes {keys}")
    shape: Shape = validated(Shape, find_preset(preset).shape.model_dump() | changes)
    return shape


def compile_mode(wish: str) -> Literal["on", "graphs", "step"]:
    match wish:
        case "auto" | "on":
            return "on"
        case "graphs" | "step":
            return wish
    raise ValueError(f"compile '{wish}': an estimate is of compiled code, so choose auto, on, graphs or step")
