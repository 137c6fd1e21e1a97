"""A group in the buffer is a safetensors file without its header: the library itself reads it back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.numpy import load

from shared.runs.layout import ArraySpec, lay_out

NUMPY = {"F64": np.float64, "F32": np.float32, "I64": np.int64, "U8": np.uint8, "I16": np.int16, "BOOL": np.bool_}
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
names = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
groups = st.dictionaries(names, st.tuples(st.sampled_from(sorted(NUMPY)), shapes), min_size=1, max_size=6)


def specs(arrays: dict) -> list[ArraySpec]:
    return [ArraySpec(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in arrays.items()]


@settings(max_examples=60, deadline=None)
@given(groups, groups, st.integers(0, 2**32))
def test_any_arrays_are_read_back_by_the_library(model, optimizer, seed):
    layout = lay_out({"model": specs(model), "optimizer": specs(optimizer)})
    random, memory = np.random.default_rng(seed), np.zeros(layout.num_bytes, np.uint8)
    for group, arrays in (("model", model), ("optimizer", optimizer)):
        written = {}
        for place in layout.groups[group].places:
            array = random.integers(0, 2, place.spec.shape).astype(NUMPY[place.spec.dtype])
            target = memory[place.offset : place.offset + place.spec.num_bytes]
            target[:] = np.frombuffer(array.tobytes(), np.uint8)
            written[place.spec.name] = array
        part = layout.groups[group]
        file = part.header + memory[part.offset : part.offset + part.num_bytes].tobytes()
        found = load(file)
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], array) for name, array in written.items())


def test_every_array_is_aligned_to_its_type():
    layout = lay_out({"model": specs({"a": ("U8", (3,)), "b": ("F64", (2,)), "c": ("I16", (5,))})})
    assert [place.spec.name for place in layout.groups["model"].places] == ["b", "c", "a"]
    assert [place.offset % 8 for place in layout.groups["model"].places][:2] == [0, 0]


def test_a_name_that_stands_twice_is_refused():
    twice = [ArraySpec(name="a", dtype="F32", shape=(1,))] * 2
    with pytest.raises(ValueError, match="same name"):
        lay_out({"model": twice})


@pytest.mark.parametrize(
    "change",
    [{"name": ""}, {"name": "a\nb"}, {"name": "x" * 301}, {"dtype": "F99"}, {"shape": (-1,)}, {"shape": (2**49,)}],
)
def test_what_is_no_plain_array_is_refused(change):
    with pytest.raises(ValidationError):
        ArraySpec(**{"name": "a", "dtype": "F32", "shape": (1,), **change})
