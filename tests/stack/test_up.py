"""From a clone to a number: make up-cpu, a dataset, experiments by two clients, their record in MLflow, its pages."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.settings import CHECKOUT
from tests.fleet import wait_for
from tests.recipes import HONEST
from tests.stack.composed import stack_of

pytestmark = pytest.mark.stack

PICTURES = CHECKOUT / "build" / "stack"
BROWSER = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1500,900",
    "--virtual-time-budget=30000",
]  # fmt: skip


@pytest.fixture(scope="session")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], capture_output=True, timeout=600)
    return shutil.which("chromium") or pytest.skip("no chromium is installed and none can be had")


def recorded(stack, run_id: str) -> dict:
    """The finished run of that id in MLflow; the recorder works after the experiment."""
    runs = wait_for(
        lambda: [run for run in stack.recorded() if run["run_id"] == run_id and run["status"] == "FINISHED"], 60
    )
    assert len(runs) == 1
    return runs[0]


def test_the_shipped_recipe_by_plain_rq_has_its_number_in_mlflow(stack):
    outcome = stack.outcome(stack.rq("train", "by-rq", "dataset=words", "smoke=true", "time_budget=2"))
    assert outcome.status == "ok", outcome.reason
    assert recorded(stack, outcome.run_id)["metrics"]["val_bpb_unranked"] == pytest.approx(outcome.result.val_bpb)


def test_a_recipe_from_outside_is_the_one_that_is_trained_by_submit_and_by_rq(stack, enqueue, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(HONEST.replace("WIDTH = 16", "WIDTH = 8"))
    quick = ("--smoke", "--time-budget", "1", "--set", "seq_len=64", "--dataset", "words")
    printed = stack.command("autoresearch", "submit", "--target", "cpu", *quick, "--recipe", str(recipe), "--wait")
    assert "val_bpb" in printed
    small = stack.outcome(printed.splitlines()[1])
    assert stack.run_file(small.run_id, "recipe.py") == recipe.read_text().strip()
    large = stack.outcome(enqueue("width-32", HONEST.replace("WIDTH = 16", "WIDTH = 32")))
    assert large.result.num_params_M == pytest.approx(4 * small.result.num_params_M)


def test_doctor_sees_a_healthy_stack(stack):
    done = stack.make("doctor")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fix " not in done.stdout


def test_a_second_up_changes_nothing(stack):
    services = tuple(stack_of("cpu"))
    secrets = {file.name: file.read_bytes() for file in (stack.checkout / ".secrets").iterdir()}
    stack.up()  # a container made by a first `up --no-deps` could still be replaced by this one
    before = [stack.container(name) for name in services]
    stack.up()
    assert [stack.container(name) for name in services] == before
    assert {file.name: file.read_bytes() for file in (stack.checkout / ".secrets").iterdir()} == secrets


@pytest.mark.slow
def test_mlflows_pages_show_the_run_in_a_browser(stack, browser, tmp_path):
    run_id = stack.outcome(stack.rq("train", "shown", "dataset=words", "smoke=true", "time_budget=2")).run_id
    number = f"{recorded(stack, run_id)['metrics']['val_bpb_unranked']:.4f}"
    experiment = next(found for found in stack.experiments() if found["name"] == "autoresearch cpu")
    page = f"http://127.0.0.1:{stack.mlflow_port}/#/experiments/{experiment['experiment_id']}/runs"
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = f"--screenshot={PICTURES / 'mlflow.png'}"
    look(browser, tmp_path, page, picture)
    assert number in look(browser, tmp_path, page, "--dump-dom")
    assert (PICTURES / "mlflow.png").stat().st_size > 20_000


def look(browser: str, profile: Path, page: str, what: str) -> str:
    command = [browser, *BROWSER, f"--user-data-dir={profile}", what, page]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout
