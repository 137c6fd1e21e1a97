"""`autoresearch lab estimate` from the command line to its answer: the recipe runs in the sandbox, without a GPU."""

import json
import subprocess
import sys
from importlib.util import find_spec

import pytest

from services.kernel_lab.estimate import estimate as estimates
from shared.experiment.presets import PRESETS
from shared.settings import CHECKOUT

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None,
    reason="an estimate needs Triton: pip install -c constraints.txt -e '.[lab]'",
)
RUN = "from services.console.main import main; main()"
TINY = ["--set", "depth=1", "--set", "d_model=64", "--set", "heads=1", "--set", "total_batch_size=2048"]

RECIPE = """
import torch


class Recipe:
    def __init__(self, device):
        self.w = torch.nn.Parameter(torch.zeros(64, 128, device=device.torch, dtype=device.dtype))
        self.loss = device.compile(lambda x, w: (x @ w).relu().sum())

    def step(self, rows, progress):
        x = torch.ones(rows.shape[0], 64, device=rows.device, dtype=self.w.dtype)
        loss = self.loss(x, self.w)
        loss.backward()
        {line}
        self.w.grad = None
        return loss.detach()

    def logits(self, tokens):
        return tokens

    def state(self):
        return {{"model": {{"w": self.w}}, "optimizer": {{}}}}

    def load(self, state):
        pass


def build(shape, vocab_size, seed, device):
    return Recipe(device)
"""


def lab_estimate(*arguments: str) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-c", RUN, "lab", "estimate", "--preset", "m5-tiny", *arguments]
    return subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=300)


@pytest.fixture
def recipe(tmp_path):
    def write(line: str = "pass"):
        path = tmp_path / "mine.py"
        path.write_text(RECIPE.format(line=line))
        return str(path)

    return write


def test_what_is_not_installed_is_said_in_one_line_with_what_to_install(monkeypatch):
    monkeypatch.setattr(estimates, "find_spec", lambda name: None if name == "triton" else object())
    with pytest.raises(ValueError, match=r"needs Triton.*pip install -c constraints.txt -e '.\[lab\]'"):
        estimates.check_installed(["torch", "triton"])


def test_for_a_mac_only_mlx_is_needed_and_the_kernels_are_metals(tmp_path):
    pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")
    done = lab_estimate(*TINY, "--target", "mac", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (side,) = found["sides"]
    assert (found["architecture"], found["bandwidth_gbs"]) == ("metal", 153.6)
    assert side["side"]["name"] == "gpt_mlx"
    passes = [k for k in side["step"]["kernels"] if k["kernel"].startswith("Matmul")]
    weights = 12 * 64**2 + 8192 * 64  # one block and the head
    attention_and_muon = 1.15
    assert 1 <= sum(k["flops"] for k in passes) / (6 * weights * 2048) < attention_and_muon
    assert {k["kind"] for k in side["step"]["kernels"]} == {"metal", "product", "library"}
    assert side["memory_bytes"] > side["step"]["state_bytes"]


def test_triton_kernels_are_not_compiled_for_a_mac():
    done = lab_estimate("--target", "mac", "--compile-kernels")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Metal's compiler runs on a Mac only" in done.stderr


@needs_triton
def test_a_recipe_of_ones_own_is_counted_as_one_counts_it_by_hand(recipe):
    done = lab_estimate("--recipe", recipe(), "--target", "h100", "--json")
    assert done.returncode == 0, done.stderr
    (side,) = json.loads(done.stdout)["sides"]
    rows = PRESETS["m5-tiny"].shape.rows_per_step
    flops = {phase["name"]: phase["flops"] for phase in side["phases"]}
    # x needs no gradient, so backward is one product, as forward is
    assert flops == {"forward": 2 * rows * 64 * 128, "backward": 2 * rows * 64 * 128}
    assert side["step"]["state_bytes"] == 2 * 64 * 128
    assert side["step"]["gradient_bytes"] == 2 * 64 * 128


@needs_triton
def test_a_recipe_that_reads_a_value_in_its_step_is_refused_in_one_line(recipe):
    done = lab_estimate("--recipe", recipe("float(loss)"))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("autoresearch: mine: ")
    assert "cannot be estimated: its step() failed on tensors without values" in line
    assert "recipe.py line" in line


@needs_triton
def test_a_recipe_cannot_read_what_the_sandbox_hides(recipe):
    done = lab_estimate("--recipe", recipe("open('/etc/shadow')"))
    assert done.returncode == 2
    assert "PermissionError" in done.stderr


@needs_triton
@pytest.mark.slow
def test_the_shipped_recipe_multiplies_six_flops_a_weight_and_token():
    done = lab_estimate(*TINY, "--target", "gb10", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (side,) = found["sides"]
    passes = [k for k in side["step"]["kernels"] if k["phase"] != "optimizer" and k["kind"] == "product"]
    width, tokens = 64, 2048
    weights = 12 * width**2 + 8192 * width  # one block and the head
    assert sum(k["flops"] for k in passes) == pytest.approx(6 * weights * tokens, rel=0.01)  # gates are a thousandth
    attention = [k for k in side["step"]["kernels"] if k["kind"] == "custom"]
    pairs = tokens // 256 * 256 * 257 // 2
    assert sum(k["flops"] for k in attention) == 7 * 2 * width * pairs
    assert {phase["name"] for phase in side["phases"]} == {"forward", "backward", "optimizer"}
    assert side["memory_bytes"] > side["step"]["state_bytes"] + side["step"]["gradient_bytes"]
