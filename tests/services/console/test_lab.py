"""`autoresearch lab` as people and agents call it: one JSON document, exit codes, one line for wrong input."""

import json

import pytest
from typer.testing import CliRunner

from services.console.lab_progress import lines
from services.console.main import application
from shared.kernel_lab.job import leave_doing
from shared.settings import settings


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """lab(*arguments) -> (exit code, what was printed, the exception)."""
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARE_RUNS", str(tmp_path / "runs"))
    settings.cache_clear()

    def call(*arguments):
        done = CliRunner().invoke(application(), ["lab", *arguments])
        return done.exit_code, done.stdout, done.exception

    yield call
    settings.cache_clear()


def test_the_ops_are_listed_as_one_json_document(lab):
    code, printed, _ = lab("list", "--json")
    answer = json.loads(printed)
    assert (code, answer["status"]) == (0, "ok")
    assert {"rmsnorm", "fused_mlp", "cross_entropy_full"} <= {row["op"] for row in answer["data"]["ops"]}


def test_a_workspace_is_made_and_leaves_evidence(lab, tmp_path):
    code, printed, _ = lab("init", "rmsnorm", "--workspace", str(tmp_path / "mine"))
    assert code == 0
    assert printed.startswith(f"{tmp_path / 'mine' / 'kernel.py'} is the one file to edit")
    answer = json.loads(lab("evidence", "rmsnorm", "--json")[1])
    assert [event["kind"] for event in answer["data"]["events"]] == ["init"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["init", "warp_drive"], "unknown op 'warp_drive'"),
        (["verify", "rmsnorm/absent"], "has no kernel 'absent'"),
        (["verify", "rmsnorm/x", "--limit-s", "-1"], "limit_s"),
        (["auto-review", "absent.json"], "is missing"),
    ],
)
def test_wrong_input_is_one_line_that_says_what_to_do(lab, arguments, said):
    code, printed, error = lab(*arguments)
    assert (code, printed) == (1, "")  # the runner's code; `main` turns a ValueError into 2
    assert isinstance(error, ValueError)
    assert said in str(error)
    assert "Traceback" not in str(error)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["capture", "--device", "cpu"], "capture-unavailable"),
        (["deep-profile", "fused_mlp/triton_saved", "--device", "cpu"], "capture-unavailable"),
    ],
)
def test_what_is_missing_is_an_answer_with_its_name(lab, arguments, status):
    code, printed, _ = lab(*arguments, "--json")
    assert code == 1
    assert json.loads(printed)["status"] == status


def test_an_option_that_is_no_pair_is_named(lab):
    _, _, error = lab("estimate", "--kernels", "fused_mlp")
    assert str(error) == "--kernels needs OP=KERNEL, for example fused_mlp=triton_saved, but got 'fused_mlp'"


def test_without_a_terminal_it_tells_now_and_then_what_it_does(lab, tmp_path):
    (tmp_path / "home/kernel_lab/answers").mkdir(parents=True)
    told, clock = [], iter([0.0, 5.0, 11.0, 11.0, 15.0, 15.0, 22.0, 22.0])
    watch = lines("a" * 16, told.append, lambda: next(clock))
    leave_doing("a" * 16, "round 1 of 15")
    for _ in range(3):
        watch("kernel-lab")
    leave_doing("a" * 16, "round 2 of 15")
    watch("kernel-lab")
    assert told == ["round 1 of 15 ..."]
    watch("kernel-lab")
    assert told == ["round 1 of 15 ...", "round 2 of 15 ..."]
