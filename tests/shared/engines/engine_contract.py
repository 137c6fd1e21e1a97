"""What every engine must do, whatever its framework. Not collected itself: each engine's test file subclasses it."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from shared.engines import Engine, open_engine
from shared.runs.layout import DTYPE_BYTES
from tests.handed_over import save


class EngineContract:
    name: str
    array: Callable[[np.ndarray], Any]
    """float or integer numpy array -> array of the framework"""
    bf16: Callable[[Any], Any]
    """array -> the same in bfloat16"""
    uniform: Callable[[], Any]
    """four random numbers of the framework's own generator"""

    @pytest.fixture
    def engine(self) -> Engine:
        return open_engine(self.name, "cpu")

    def floats(self, *shape: int, seed: int = 0) -> Any:
        return self.array(np.random.default_rng(seed).normal(size=shape).astype(np.float32))

    def same(self, engine: Engine, left: Any, right: Any) -> bool:
        return left.dtype == right.dtype and np.array_equal(engine.to_host(left), engine.to_host(right))

    def test_precision_and_compilation_are_chosen_with_a_reason(self, engine):
        assert choice(engine, "dtype").chosen in ("bfloat16", "float32")
        assert "bf16" in choice(engine, "dtype").reason
        assert choice(engine, "compile").chosen == "off"
        assert choice(engine, "compile").reason == "eager by default on cpu"

    @pytest.mark.parametrize(("wish", "chosen"), [("fp32", "float32"), ("bf16", "bfloat16")])
    def test_what_is_asked_for_is_what_is_used(self, wish, chosen):
        engine = open_engine(self.name, "cpu", dtype=wish, compile="off")
        assert str(engine.handle.dtype).endswith(chosen)
        assert choice(engine, "dtype").chosen == chosen
        assert not engine.handle.compiles
        assert {choice(engine, what).reason for what in ("dtype", "compile")} == {"asked for"}

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dtype": "fp16"}, "dtype 'fp16': choose auto, bf16 or fp32"),
            ({"compile": "yes"}, "compile 'yes': .* auto, on"),
            ({"device": "meta"}, "device meta: the .* engine runs on"),
        ],
    )
    def test_unknown_options_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            open_engine(self.name, **({"device": "cpu"} | options))

    def test_a_function_is_compiled_only_where_compilation_is_on(self, engine):
        assert engine.handle.compile(self.array) is self.array

    def test_a_note_is_kept_once(self, engine):
        before = len(engine.choices)
        engine.handle.note("attention_backend", "sdpa", "why")
        engine.handle.note("attention_backend", "sdpa", "why")
        assert len(engine.choices) == before + 1

    def test_tokens_arrive_whole(self, engine):
        tokens = np.array([[0, 8191], [65535, 32768]], dtype=np.uint16)
        tokens.setflags(write=False)
        assert engine.to_host(engine.from_host(tokens)).tolist() == tokens.tolist()

    def test_tokens_may_be_overwritten_after_the_hand_over(self, engine):
        tokens = np.arange(64, dtype=np.uint16)
        array = engine.from_host(tokens)
        tokens[:] = 0
        assert engine.to_host(array).tolist() == list(range(64))

    def test_host_copies_are_float32_or_integer_and_writable(self, engine):
        found = engine.to_host(self.bf16(self.floats(3)))
        found[0] = 1
        assert found.dtype == np.float32
        assert engine.to_host(self.array(np.array([7]))).dtype.kind == "i"

    def test_a_loss_is_read_as_a_number(self, engine):
        assert engine.scalar(self.array(np.float32(2.5))) == 2.5
        assert engine.scalar(2.5) == 2.5
        engine.synchronize()

    def test_arrays_survive_a_file_bit_for_bit(self, engine, tmp_path):
        arrays = {
            "bf16": self.bf16(self.floats(4, 3)),
            "strided": self.floats(4, 6)[:, ::2],
            "transposed": self.floats(4, 6).T,
            "step": self.array(np.array(7)),
            "empty": self.floats(0, 3),
            **engine.rng_state(),
        }
        save(engine, tmp_path / "a.safetensors", arrays)
        loaded = engine.load(tmp_path / "a.safetensors")
        assert loaded.keys() == arrays.keys()
        assert all(self.same(engine, loaded[name], arrays[name]) for name in arrays)

    def test_what_was_stored_is_fetched_bit_for_bit(self, engine):
        arrays = (self.floats(3, 5), self.bf16(self.floats(7)), self.array(np.arange(4)), self.floats(0, 2))
        for array in (*arrays, self.array(np.float32(2.5).reshape(()))):
            dtype, shape = engine.describe(array)
            memory = np.zeros(math.prod(shape) * DTYPE_BYTES[dtype], np.uint8)
            engine.store(memory, array)
            fetched = engine.fetch(memory, dtype, shape)
            memory[:] = 0
            assert engine.describe(fetched) == (dtype, shape)
            assert self.same(engine, fetched, array)

    def test_loaded_arrays_do_not_need_the_file(self, engine, tmp_path):
        path = tmp_path / "a.safetensors"
        save(engine, path, {"w": self.floats(3)})
        loaded = engine.load(path)
        path.unlink()
        assert self.same(engine, loaded["w"], self.floats(3))

    @pytest.mark.parametrize("kept_bytes", [0, 5, 40, 200])
    def test_a_cut_file_is_a_value_error(self, engine, tmp_path, kept_bytes):
        path = tmp_path / "a.safetensors"
        save(engine, path, {"w": self.floats(100)})
        path.write_bytes(path.read_bytes()[:kept_bytes])
        with pytest.raises(ValueError, match=r"a\.safetensors is not a readable safetensors file"):
            engine.load(path)

    def test_random_numbers_continue_from_a_saved_state(self, engine, tmp_path):
        engine.seed(5)
        self.uniform()
        save(engine, tmp_path / "rng.safetensors", engine.rng_state())
        first = engine.to_host(self.uniform())
        engine.set_rng_state(engine.load(tmp_path / "rng.safetensors"))
        assert np.array_equal(first, engine.to_host(self.uniform()))
        assert not np.array_equal(first, engine.to_host(self.uniform()))

    def test_a_seed_names_the_random_numbers(self, engine):
        drawn = []
        for seed in (5, 5, 6):
            engine.seed(seed)
            drawn.append(engine.to_host(self.uniform()).tolist())
        assert drawn[0] == drawn[1] != drawn[2]

    @pytest.mark.parametrize(
        ("error", "expected"),
        [(MemoryError(), True), (RuntimeError("shape mismatch"), False), (ValueError("out of memory of what"), False)],
    )
    def test_running_out_of_memory_is_told_from_other_errors(self, engine, error, expected):
        assert engine.is_out_of_memory(error) is expected

    def test_peak_memory_follows_what_is_held(self, engine):
        if engine.device == "cpu" and not os.path.exists("/proc/self/clear_refs"):
            pytest.skip("only Linux restarts the high-water mark of a process; elsewhere it is that of its whole life")
        engine.reset_peak_memory()
        before = engine.peak_memory_mb()
        held = self.array(np.ones(64 * 2**20 // 4, dtype=np.float32))
        assert engine.scalar(held[0]) == 1
        assert engine.peak_memory_mb() >= before + 0.9 * 64

    def test_matmul_speed_is_measured_in_under_a_second(self, engine):
        assert engine.matmul_flops() > 1e8

    @pytest.mark.parametrize("as_numpy", [True, False])
    def test_nats_are_the_cross_entropy(self, engine, as_numpy):
        logits = 10 * np.random.default_rng(0).normal(size=(2, 5, 37)).astype(np.float32)
        targets = np.random.default_rng(1).integers(0, 37, (2, 5))
        lse = np.log(np.exp(logits.astype(np.float64)).sum(-1))
        expected = lse - np.take_along_axis(logits.astype(np.float64), targets[..., None], -1)[..., 0]
        nats, mode = engine.token_nats(logits if as_numpy else self.array(logits), targets)
        assert nats.dtype == mode.dtype == np.float32
        np.testing.assert_allclose(nats, expected, atol=1e-5)
        np.testing.assert_allclose(mode, lse - logits.max(-1), atol=1e-5)

    @pytest.mark.parametrize("offset", [-9000, 9000])
    def test_an_offset_common_to_all_logits_changes_nothing(self, engine, offset):
        logits, targets = np.round(self.floats(1, 40, 300) * 64) / 64, np.arange(40)[None]
        plain, shifted = (engine.token_nats(logits + np.float32(shift), targets) for shift in (0, offset))
        assert np.array_equal(plain, shifted)

    @pytest.mark.parametrize("value", [1e9, 1e8, 10_001, -10_001, np.inf, -np.inf, np.nan])
    @pytest.mark.parametrize("share", [1, 8, 300])
    def test_logits_too_large_to_differ_give_no_nats(self, engine, value, share):
        logits = np.zeros((1, 3, 300), dtype=np.float32)
        logits[0, 1, -share:] = value
        nats, mode = engine.token_nats(logits, np.zeros((1, 3), dtype=np.int64))
        assert np.isnan([nats[0, 1], mode[0, 1]]).all()
        assert np.isfinite([nats[0, [0, 2]], mode[0, [0, 2]]]).all()

    def test_nats_are_never_negative(self, engine):
        logits = np.zeros((1, 2, 8192), dtype=np.float32)
        logits[0, 0, 5], logits[0, 1] = 10_000, 10_000
        nats, mode = engine.token_nats(logits, np.array([[5, 5]]))
        assert nats[0, 0] == mode[0, 0] == 0
        np.testing.assert_allclose(nats[0, 1], np.log(8192), rtol=1e-6)

    @pytest.mark.parametrize("as_numpy", [True, False])
    def test_a_buffer_that_changes_after_it_was_copied_changes_no_number(self, engine, as_numpy):
        shared = self.floats(1, 4, 8192)
        held = self.array(shared) if not as_numpy else shared
        ((_, private),) = engine._private_chunks(held)
        before = engine.to_host(private).copy()
        held[...] = 7
        assert np.array_equal(engine.to_host(private), before)

    def test_nats_do_not_depend_on_the_chunking(self, engine):
        logits, targets = self.floats(1, 300, 8192), np.zeros((1, 300), dtype=np.int64)
        whole = engine.token_nats(logits, targets)[0]
        row_by_row = [engine.token_nats(logits[:, i : i + 1], targets[:, i : i + 1])[0] for i in range(0, 300, 37)]
        assert [nats.item() for nats in row_by_row] == whole[0, ::37].tolist()

    def test_logits_are_copied_into_the_buffer_of_another(self, engine):
        buffer, logits = np.zeros((2, 3, 4), dtype=np.float32), self.bf16(self.floats(2, 3, 4))
        engine.copy_into(buffer, logits)
        assert np.array_equal(buffer, engine.to_host(logits))


def choice(engine: Engine, what: str):
    return next(choice for choice in engine.choices if choice.what == what)
