"""Triton kernels where there is no GPU: interpreted on the CPU against the references, and compiled for every
architecture. Neither shows a race or a speed."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from kernels.records import Status
from shared.settings import CHECKOUT

pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton: pip install -e '.[lab]'")


@pytest.fixture(scope="module")
def interpreted() -> list[dict]:
    """In a process of its own: kernels are interpreted or compiled, by what the environment says at import."""
    return lines_of("tests.kernels.interpreted", TRITON_INTERPRET="1")


def lines_of(module: str, *arguments: str, **environment: str) -> list[dict]:
    argv = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(argv, cwd=CHECKOUT, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def cases(lines: list[dict], name: str) -> list[dict]:
    """With rope_qk_fused; with attention_prelude in its place and another loss; with sums inside of products, all of
    them and each alone."""
    found = [line for line in lines if line.get("case") == name]
    assert len(found) == 5
    return found


def test_every_kernel_computes_what_its_reference_does(interpreted):
    judged = [line for line in interpreted if "status" in line]
    assert len(judged) >= 72
    assert [line for line in judged if line["status"] != Status.PASSED] == []


def test_the_recipe_trains_alike_with_all_of_them_in_one_unbroken_graph(interpreted):
    for found in cases(interpreted, "gradients"):
        assert min(found["scale"].values()) > 0
        assert {name: away for name, away in found["away"].items() if away > 1e-4 * found["scale"][name]} == {}
    for found in cases(interpreted, "step"):  # an update has the size of the learning rate, whatever the gradient's
        assert max(found["away"].values()) < 1e-4


def test_the_result_says_which_kernels_were_used(interpreted):
    _, prelude, residual, linear, mlp = (" ".join(line["choices"]) for line in cases(interpreted, "choices"))
    for kernel in ("residual_linear triton_epilogue", "residual_mlp triton_saved", "blend_rmsnorm triton_fused"):
        assert kernel in residual
    assert "muon_polynomial triton_triangle" in residual
    assert ("residual_linear" in linear, "residual_mlp" in linear) == (True, False)
    assert ("residual_linear" in mlp, "residual_mlp" in mlp) == (False, True)
    said = prelude
    assert "attention_prelude triton_epilogue" in said
    for kernel in (
        "fused_mlp triton_saved",
        "cross_entropy_full triton_recompute",
        "muon_symmetric_matmul triton_triangle",
    ):
        assert kernel in said


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_every_kernel_compiles_for_every_architecture(arch, tmp_path):
    found = lines_of("tests.kernels.compiled", arch, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
    assert len({line["kernel"] for line in found}) >= 24
    assert [line for line in found if line["shared_bytes"] > line["most"]] == []
    # a thread that keeps numbers in device memory pays for it; 8 bytes a thread are no spill
    assert [line for line in found if line["stack_bytes"] > 8] == []
