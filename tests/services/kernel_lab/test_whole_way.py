"""The worked example of docs/kernel-lab.md on a machine without a GPU, with the real trainer, in a copy of the tree."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from shared.settings import CHECKOUT

MAIN = "from services.console.main import main; main()"
pytestmark = pytest.mark.slow


@pytest.fixture
def lab(tmp_path, prepared_home):
    """lab(*arguments) -> the answer; everything is done in a checkout of its own."""
    tree, home = tmp_path / "tree", tmp_path / "home"
    for room in ("shared", "services", "kernels"):
        shutil.copytree(CHECKOUT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", tree)  # what makes it a checkout
    shutil.copytree(prepared_home, home)
    environment = {**os.environ, "ARE_HOME": str(home), "ARE_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(tree)}

    def call(*arguments):
        argv = [sys.executable, "-c", MAIN, "lab", *map(str, arguments), "--json"]
        done = subprocess.run(argv, cwd=tree, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    call.tree = tree
    return call


def test_from_a_profile_to_the_verdict_of_the_trainer(lab, tmp_path):
    profile = tmp_path / "profile.json"
    found = lab("profile", "--preset", "m5-tiny", "--device", "cpu", "--steps", 1)
    assert found["status"] == "ok", found["headline"]
    assert sum(one["share"] for one in found["data"]["families"]) == pytest.approx(1)
    profile.write_text(json.dumps(found))
    assert lab("orchestrate", "--profile", profile)["data"]["steps"]

    workspace = tmp_path / "mlp"
    assert lab("init", "fused_mlp", "--workspace", workspace)["status"] == "ok"
    assert lab("verify", workspace)["data"]["status"] == "PASSED"
    measured = lab("bench", workspace, "--against", "eager", "--axes", "N=64,C=32,F=128", "--rounds", 6)
    assert measured["data"]["status"] == "PASSED", measured["headline"]

    compared = lab("integration-ab", workspace, "--preset", "m5-tiny", "--time-budget", 3, "--repeats", 2)
    assert compared["data"]["verdict"] in ("validated", "mixed", "regressed")
    (one,) = compared["data"]["comparisons"]
    assert one["pairs"] == 2
    assert not (lab.tree / "kernels" / "fused_mlp" / "torch_mlp.py").exists(), "where every recipe reads"
    for with_kernel, without in one["runs"]:
        used, plain = (kernels_of(tmp_path / "runs" / run) for run in (with_kernel, without))
        assert "fused_mlp torch_mlp" in used
        assert "torch_mlp" not in plain

    check = lab("promotion-check", workspace)
    assert check["data"]["requirements"][0]["evidence"]
    assert lab("evidence", "fused_mlp")["data"]["unreadable_lines"] == 0


def kernels_of(run):
    choices = json.loads((run / "result.json").read_text())["choices"]
    return next(choice["chosen"] for choice in choices if choice["what"] == "kernels")


def test_an_op_that_no_recipe_takes_kernels_for_says_so(lab, tmp_path):
    workspace = tmp_path / "reduce"
    lab("init", "reduce", "--workspace", workspace)
    assert lab("verify", workspace, "--quick")["data"]["status"] == "PASSED"
    answer = lab("integration-ab", workspace, "--preset", "m5-tiny", "--time-budget", 2, "--repeats", 2)
    assert answer["status"] == "needs-integration-adapter"
    assert not [*(tmp_path / "runs").glob("lab-*")], "no run is needed to find it out"
