"""The recipe process's side of handing the state over: arrays into the memory that the supervisor owns.

The supervisor's side: state_store.py. The final weights go this way inside the budget, so how long it takes is
measured in warm-up, and the loop ends that much earlier. A checkpoint comes back as open files of the same layout.
"""

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from shared.engines import Engine, State
from shared.runs.layout import GROUPS, ArraySpec, Group, lay_out
from shared.runs.recipe_file import InvalidRecipe


def describe(engine: Engine, state: State) -> dict[str, tuple[ArraySpec, ...]]:
    """InvalidRecipe for an array whose type cannot be stored or whose name is no plain text."""
    return {group: tuple(_spec(engine, group, *item) for item in arrays.items()) for group, arrays in state.items()}


def _spec(engine: Engine, group: str, name: str, array: Any) -> ArraySpec:
    try:
        dtype, shape = engine.describe(array)
        return ArraySpec(name=name, dtype=dtype, shape=shape)
    except ValueError as error:
        raise InvalidRecipe(f"state()['{group}'] cannot be stored: {str(name)[:80]}: {error}") from None


class HandOver:
    """Fills the buffer. seconds: how long the weights took in the rehearsal."""

    def __init__(self, engine: Engine, specs: Mapping[str, tuple[ArraySpec, ...]]):
        self.engine, self.layout = engine, lay_out(specs)
        self.memory = np.empty(0, np.uint8)
        self.seconds = 0.0

    def attach(self, memory: np.ndarray) -> None:
        """memory: uint8 of `layout.num_bytes`, shared with the supervisor."""
        self.memory = memory
        self.engine.pin(memory)

    def rehearse(self, state: State) -> None:
        """Fills the buffer once, so that its pages are there, and times the part that the budget pays for."""
        self.fill({**state, "rng": self.engine.rng_state()})
        started = perf_counter()
        self.fill({"model": state["model"]})
        self.seconds = perf_counter() - started

    def fill(self, state: State) -> None:
        """Done when it returns. InvalidRecipe when names, types or shapes are no longer those of build()."""
        for name, arrays in state.items():
            self._fill(name, self.layout.groups[name], arrays)
        self.engine.synchronize()

    def read_files(self, descriptors: Sequence[int]) -> dict[str, dict[str, Any]]:
        """The state that was handed over once, in host memory; closes the files, which are those of GROUPS.

        InvalidRecipe when names, types or shapes are no longer the same.
        """
        return {name: self._read_file(name, file) for name, file in zip(GROUPS, descriptors, strict=True)}

    def _read_file(self, name: str, descriptor: int) -> dict[str, Any]:
        group = self.layout.groups[name]
        with open(descriptor, "rb") as file:
            if file.read(len(group.header)) != group.header:
                raise InvalidRecipe(f"state() changed since the checkpoint: {name} has other arrays now")
            size = group.num_bytes
            content = np.memmap(file, np.uint8, "r", len(group.header), (size,)) if size else np.empty(0, np.uint8)
            return {
                spec.name: self.engine.fetch(content[start : start + spec.num_bytes], spec.dtype, spec.shape)
                for spec, start in ((place.spec, place.offset - group.offset) for place in group.places)
            }

    def _fill(self, name: str, group: Group, arrays: Mapping[str, Any]) -> None:
        if len(arrays) != len(group.places):
            raise InvalidRecipe(f"state() has {len(arrays)} arrays in {name}, after build() it had {len(group.places)}")
        for place in group.places:
            spec, array = place.spec, arrays.get(place.spec.name)
            if array is None or self.engine.describe(array) != (spec.dtype, spec.shape):
                raise InvalidRecipe(f"state() changed after build(): {name}/{spec.name} is missing or of another shape")
            self.engine.store(self.memory[place.offset : place.offset + spec.num_bytes], array)
