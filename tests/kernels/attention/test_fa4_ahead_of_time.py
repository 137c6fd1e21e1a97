"""Which kernels of FlashAttention 4 an image brings, and that a check misses none. The slow ones need the package."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from kernels.attention import choose, fa4_ahead_of_time
from kernels.attention.fa4_ahead_of_time import ARCHITECTURES, Call, calls_of, main, preset_calls, windows_of
from services.trainer.recipes import gpt_torch
from shared.evaluation.rungs import EVAL_SEQ_LEN
from shared.experiment.presets import PRESETS
from shared.files import sha256_file
from shared.machine.targets import TARGETS
from shared.settings import CHECKOUT

MODULE = "kernels.attention.fa4_ahead_of_time"
INSTALLED = find_spec("flash_attn") is not None and find_spec("flash_attn.cute") is not None
needs_package = pytest.mark.skipif(not INSTALLED, reason="flash-attn-4 is not installed: pip install -e '.[fa4]'")


def attention_of(shape, length: int, backward: bool) -> set[Call]:
    """What the shipped recipe calls for a row of that length, from the model itself."""
    calls = set()

    def attend(q, k, v, window):
        calls.add(Call(q.shape[3], q.shape[2] // k.shape[2], q.shape[1], window, backward))
        return q

    with torch.device("meta"):
        model = gpt_torch.GPT(shape, 64, torch.bfloat16, attend)
        model.hidden(torch.zeros(1, length, dtype=torch.long))
    return calls


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_recipe_calls_in_training_and_evaluation_is_compiled(name):
    shape = PRESETS[name].shape
    called = attention_of(shape, shape.seq_len, backward=True) | attention_of(shape, EVAL_SEQ_LEN, backward=False)
    assert called <= set(calls_of(shape)) <= set(preset_calls())


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_probe_calls_is_compiled(name, monkeypatch):
    shape, called = PRESETS[name].shape, set()

    def record(attention, inputs, window):
        q, k = inputs[:2]
        called.add(Call(q.shape[3], q.shape[2] // k.shape[2], q.shape[1], window, backward=True))
        return [torch.zeros(1)] * 4

    monkeypatch.setattr(choose, "_forward_backward", record)
    monkeypatch.setattr(torch, "randn", lambda shape, generator: torch.empty(shape))
    device = type("Device", (), {"torch": torch.device("cpu"), "dtype": torch.bfloat16})
    windows = gpt_torch.window_sizes(shape)
    choose.probe(None, device, shape.d_model // shape.heads, shape.heads, shape.heads, windows)
    assert called
    assert called <= set(calls_of(shape))


def test_windows_are_the_recipes():
    for preset in PRESETS.values():
        assert windows_of(preset.shape) == sorted(set(gpt_torch.window_sizes(preset.shape)))


def test_every_target_that_tries_it_first_can_bring_kernels():
    assert set(ARCHITECTURES) == {arch for row in TARGETS if row.attention[0] == "fa4" for arch in row.architectures}
    assert {"sm_90", "sm_100", "sm_120", "sm_121"} <= set(ARCHITECTURES)


def test_an_architecture_without_a_backward_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [MODULE, "--arch", "sm_89"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "choose from" in capsys.readouterr().err


def test_the_probe_runs_what_every_layer_runs():
    assert choose.probed_rows([512, 1024]) == [(2048, 512), (2048, 1024), (1024, 1024)]
    assert choose.probed_rows([2048]) == [(2112, 2048), (2048, 2048)]


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Of sm_90, with one kernel and its manifest."""
    monkeypatch.setattr(fa4_ahead_of_time, "_versions", lambda: {"flash-attn-4": "4"})
    kernel = tmp_path / "sm_90" / "fwd" / "1.o"
    kernel.parent.mkdir(parents=True)
    kernel.write_text("a kernel")
    manifest = fa4_ahead_of_time._manifest("sm_90", tmp_path / "sm_90", num_calls=1, seconds=1.0)
    (tmp_path / "sm_90" / "manifest.json").write_text(manifest.model_dump_json())
    return tmp_path


def checked(arch: str, cache: Path, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", [MODULE, "--arch", arch, "--cache", str(cache), "--check"])
    assert main() == 1
    return capsys.readouterr().err


def test_a_check_of_nothing_fails(cache, monkeypatch, capsys):
    assert "no kernels were compiled for sm_100" in checked("sm_100", cache, monkeypatch, capsys)


def test_a_check_of_a_damaged_kernel_fails(cache, monkeypatch, capsys):
    (cache / "sm_90" / "fwd" / "1.o").write_text("a ker")
    assert "is not what was compiled" in checked("sm_90", cache, monkeypatch, capsys)


def test_a_check_with_another_version_of_the_package_fails(cache, monkeypatch, capsys):
    monkeypatch.setattr(fa4_ahead_of_time, "_versions", lambda: {"flash-attn-4": "5"})
    assert "its kernels were made for" in checked("sm_90", cache, monkeypatch, capsys)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Path:
    """Kernels for the RTX 50 series."""
    cache = tmp_path_factory.mktemp("compiled")
    done = run_module("--arch", "sm_120", "--cache", str(cache))
    assert "none was compiled" in done.stdout, done.stderr
    return cache / "sm_120"


def run_module(*arguments: str) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-m", MODULE, *arguments]
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@needs_package
def test_kernels_compiled_without_a_gpu_are_all_found_by_a_new_process(compiled):
    manifest = json.loads((compiled / "manifest.json").read_text())
    assert manifest["num_calls"] == len(preset_calls())
    assert {kernel["file"].split("/")[1] for kernel in manifest["kernels"]} == {"fwd", "bwd", "bwd_pre", "bwd_post"}
    assert all(sha256_file(compiled / kernel["file"]) == kernel["sha256"] for kernel in manifest["kernels"])


@pytest.mark.slow
@needs_package
def test_a_kernel_that_was_not_compiled_fails_the_check(compiled, tmp_path):
    shutil.copytree(compiled, tmp_path / "sm_120")
    manifest = json.loads((compiled / "manifest.json").read_text())
    left_out = manifest["kernels"].pop()
    (tmp_path / "sm_120" / left_out["file"]).unlink()
    (tmp_path / "sm_120" / "manifest.json").write_text(json.dumps(manifest))
    done = run_module("--arch", "sm_120", "--cache", str(tmp_path), "--check")
    assert done.returncode == 1
    assert "it would be compiled" in done.stderr


@pytest.mark.slow
@needs_package
@pytest.mark.skipif(not shutil.which("objdump"), reason="objdump (binutils) is not installed")
def test_kernels_run_on_cpus_older_than_the_one_that_compiled_them(compiled):
    for kernel in compiled.rglob("*.o"):
        assembly = subprocess.run(["objdump", "-d", str(kernel)], capture_output=True, text=True, check=True).stdout
        assert "<" in assembly
        assert "%ymm" not in assembly
        assert "%zmm" not in assembly


RUN_WITHOUT_COMPILING = """
import sys, torch
from pathlib import Path
from kernels.attention import choose, fa4, fa4_ahead_of_time, fa4_cache
from shared.engines import open_engine
fa4_cache.open_cache(sys.argv[1], Path(sys.argv[2]))
from flash_attn.cute import interface
interface.cute.compile = fa4_ahead_of_time._refuse
choose.probe(fa4.load(torch.device("cuda:0")), open_engine("torch", "cuda:0").handle, 128, 4, 4, (512, 1024))
"""


@pytest.mark.gpu
@needs_package
def test_a_run_on_this_gpu_finds_what_was_compiled_as_if_there_was_none(tmp_path, monkeypatch):
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability())
    assert run_module("--arch", arch, "--cache", str(tmp_path / "brought")).returncode == 0
    monkeypatch.setenv("FLASH_ATTENTION_CUTE_DSL_CACHE_DIR", str(tmp_path / "cache"))
    argv = [sys.executable, "-c", RUN_WITHOUT_COMPILING, arch, str(tmp_path / "brought")]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
