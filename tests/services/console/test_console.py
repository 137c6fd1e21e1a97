"""The `autoresearch` command as people meet it: help, bad input, one experiment end to end, trouble on the way."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from services.console import main as console
from services.console import summary, train
from services.console.unranked import WHY_UNRANKED
from shared.contracts import (
    Budget,
    CheckpointPolicy,
    Integrity,
    PrepareJob,
    Rung,
    RunResult,
    Status,
    TrainingRecord,
    Unranked,
)
from shared.data.dataset import open_dataset, prepared_datasets
from shared.runs.directory import RunDirectory, write_record
from shared.settings import CHECKOUT, settings
from shared.tracking import pending_notes
from shared.tracking.outbox import Recorded
from tests.device_holding import held_elsewhere
from tests.executor_contract import is_gone, processes_of, wait_for
from tests.recipes import BROKEN, HONEST, light
from tests.recipes import LIGHT as LIGHT_RECIPE
from tests.run_making import SHAPE, make_run, make_trained_run, weights_file
from tests.services.prepare.tiny_corpus import write_corpus
from tests.shared.tracking.finished_runs import make_result, make_steps
from tests.shared.tracking.finished_runs import make_run as make_finished_run
from tests.small_disk import mounted

SLOW = light("def step(self, rows, progress):\n    time.sleep(0.02)\n    return super().step(rows, progress)")
COMMANDS = console.EVERY
HEAVY = {"torch", "mlflow", "pyarrow", "tiktoken", "matplotlib", "rustbpe", "huggingface_hub"}
SHAPE_OPTIONS = [
    word
    for key, value in {**SHAPE.model_dump(), "eval_batch_size": 4, "dtype": "fp32"}.items()
    for word in ("--set", f"{key}={value}")
]
TINY = ["--engine", "torch", "--device", "cpu", "--tokens", str(20 * SHAPE.total_batch_size), "--rung", "cheap"]


@pytest.fixture
def honest(tmp_path) -> Path:
    path = tmp_path / "honest.py"
    path.write_text(HONEST)
    return path


def the_line(stderr: str) -> str:
    """The one that says what is wrong; it is the last."""
    lines = [line for line in stderr.splitlines() if line.startswith("autoresearch:")]
    assert len(lines) == 1, stderr
    assert stderr.splitlines()[-1] == lines[0]
    assert "Traceback" not in stderr
    return lines[0]


# help

HELP = f"""
import sys
from services.console.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
assert not {HEAVY!r} & set(sys.modules)
"""


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_quick_and_imports_none_of_the_work(command):
    argv = [sys.executable, "-c", HELP, *command.split(), "--help"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage" in done.stdout


LIGHT = """
import sys
from services.console.main import main
try:
    main()
except SystemExit as end:
    assert end.code in (0, 1, None), end.code
print(sorted({"numpy", "psutil", "redis", "rq", "scipy", "services.console.train"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["history", "brief", "best", "runs"])
def test_what_is_asked_beside_a_run_on_a_cpu_imports_nothing_that_it_does_not_need(command, tmp_path):
    """What takes a second of a slow processor is a second that the run beside it did not have."""
    places = {"ARE_HOME": str(tmp_path / "home"), "ARE_RUNS": str(tmp_path), "ARE_ENV_FILE": str(tmp_path / "none")}
    argv = [sys.executable, "-c", LIGHT, *command.split()]
    done = subprocess.run(argv, cwd=CHECKOUT, env=os.environ | places, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"


def test_without_a_command_it_shows_what_there_is(autoresearch):
    code, out, _ = autoresearch()
    assert code == 0
    assert all(command in out for command in COMMANDS)


# bad input

BAD = {
    "unknown command": (["rain"], "rain"),
    "unknown option": (["train", "--time", "3"], "--time"),
    "unknown preset": (["train", "--preset", "m6"], "unknown preset 'm6': choose one of m5-tiny"),
    "unknown target": (["train", "--target", "h300"], "h300"),
    "another target": (["train", "--target", "h100", "--device", "cpu"], "this machine is cpu"),
    "total batch": (["train", "--set", "total_batch_size=100"], "must be a multiple of device_batch_size x seq_len"),
    "unknown key": (["train", "--set", "layers=3"], "unknown key 'layers': --set takes"),
    "no value": (["train", "--set", "depth"], "--set needs KEY=VALUE, for example depth=4, but got 'depth'"),
    "both budgets": (["train", "--tokens", "5", "--time-budget", "5"], "either --time-budget or --tokens"),
    "not a number": (["train", "--time-budget", "soon"], "--time-budget"),
    "endless": (["train", "--time-budget", "inf"], "finite"),
    "missing recipe": (["train", "--recipe", "nothing.py"], "the recipe nothing.py does not exist"),
    "missing dataset": (["train", "--dataset", "nothing"], "run `autoresearch prepare"),
    "missing run": (["train", "--resume", "nothing"], "nothing is no run's folder"),
    "resume with others": (
        ["train", "--resume", "x", "--seed", "3", "--smoke"],
        "unchanged, so leave out --seed, --smoke",
    ),
    "missing trained run": (["evaluate", "nothing"], "nothing/job.json is missing"),
    "no run": (["evaluate"], "run_dir"),
    "missing corpus": (["prepare", "--corpus", "parquet:nothing"], f"{Path.cwd() / 'nothing'} is not a directory"),
    "unknown corpus": (["prepare", "--corpus", "wikipedia"], "choose climbmix, stdlib or parquet:DIR"),
    "no shards": (["prepare", "--shards", "0"], "shards"),
    "bad name": (["prepare", "--corpus", "stdlib", "--name", "../x"], "name"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_exit_code_2(autoresearch, workplace, name):
    arguments, message = BAD[name]
    code, out, error = autoresearch(*arguments)
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert message in the_line(error)
    assert not list(workplace.iterdir())


def test_a_variable_that_cannot_be_read_is_named(autoresearch, monkeypatch):
    monkeypatch.setenv("ARE_EVAL_TIMEOUT_S", "-1")
    settings.cache_clear()
    code, _, error = autoresearch("runs")
    assert code == 2
    assert the_line(error) == "autoresearch: ARE_EVAL_TIMEOUT_S: Input should be greater than 0, got '-1'"


def test_a_relative_corpus_is_meant_from_where_one_stands(autoresearch, tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    write_corpus(tmp_path / "texts")
    monkeypatch.chdir(tmp_path)
    code, _, error = autoresearch("prepare", "--corpus", "parquet:texts", "--name", "mine", "--workers", "1")
    assert (code, error) == (0, "")
    assert open_dataset("mine").vocab_size > 256


def test_a_smoke_run_in_a_fresh_clone_first_makes_the_demo_dataset(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    write_corpus(tmp_path / "texts")
    monkeypatch.setattr(train, "DEMO", PrepareJob(corpus=f"parquet:{tmp_path / 'texts'}", name="demo", workers=1))
    train.prepare_demo()
    out, error = capfd.readouterr()
    assert out == "", "stdout is one JSON document with --json"
    assert "no dataset is prepared, so the demo corpus" in error
    assert prepared_datasets() == ["demo"]
    train.prepare_demo()
    assert capfd.readouterr().err == ""
    settings.cache_clear()


@pytest.mark.parametrize("name", ["does not parse", "has no build"])
def test_a_recipe_that_cannot_be_one_starts_nothing(autoresearch, workplace, tmp_path, name):
    source, reason = BROKEN[name]
    (tmp_path / "broken.py").write_bytes(source)
    code, _, error = autoresearch("train", "--recipe", tmp_path / "broken.py")
    assert code == 2
    assert reason in the_line(error)
    assert not list(workplace.iterdir())


def test_a_recipe_that_breaks_the_protocol_is_exit_code_2_and_a_run_that_says_so(autoresearch, workplace, tmp_path):
    source, reason = BROKEN["returns wrong shapes"]
    (tmp_path / "broken.py").write_bytes(source)
    arguments = (*SHAPE_OPTIONS, *TINY, "--engine", "mlx")
    code, out, error = autoresearch("train", "--recipe", tmp_path / "broken.py", *arguments)
    assert code == 2
    assert error.splitlines()[-1].startswith("invalid: ")
    assert reason in error
    assert "status:             invalid" in out
    assert "invalid" in autoresearch("runs")[1]


def test_two_runs_at_once_on_a_device_are_refused(autoresearch, workplace, honest):
    with held_elsewhere("cpu"):
        code, _, error = autoresearch("train", "--recipe", honest, *SHAPE_OPTIONS, *TINY)
    assert code == 2
    assert "cpu is in use by process" in the_line(error)
    assert not list(workplace.iterdir())


# end to end


def test_the_summary_has_the_names_people_compare_in_their_order():
    names = (
        "val_bpb, val_bpb_upstream, training_seconds, total_seconds, peak_vram_mb, mfu_percent, total_tokens_M, "
        "num_steps, num_params_M, depth, tok_per_sec, rung, engine, attention_backend, hardware_key, dataset, "
        "recipe_sha, seed, status"
    )
    assert list(summary.NUMBERS) == names.split(", ")


def test_the_summary_marks_what_only_the_recipes_process_claims(capsys):
    summary.print_summary(make_result().model_copy(update={"integrity": Integrity.PARTIAL}))
    lines = capsys.readouterr().out.splitlines()
    marked = {line.split(":")[0] for line in lines if line.endswith(summary.REPORTED_MARK)}
    assert marked == set(RunResult.REPORTED)
    assert lines[-2:] == ["ranked:             yes", "integrity:          partial"]


def test_every_reason_not_to_rank_has_its_words():
    assert set(WHY_UNRANKED) == set(Unranked)


def test_train_scores_records_and_lists_and_evaluate_scores_again(workplace, honest, tmp_path, autoresearch):
    """The real command in its own process, from another directory, into a real MLflow store."""
    command = [sys.executable, "-c", "from services.console.main import main; main()", "train"]
    command += ["--recipe", str(honest), *SHAPE_OPTIONS, *TINY]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = dict(line.split(None, 1) for line in done.stdout.splitlines() if line.split(":")[0] in summary.NUMBERS)
    (found,) = workplace.glob("*/result.json")
    directory = RunDirectory(found.parent)
    result = directory.result()
    assert printed["val_bpb:"] == f"{result.val_bpb:.6f}"
    assert "lower is better" in done.stdout.lower()
    assert recorded_numbers(directory) == pytest.approx({"val_bpb_unranked": result.val_bpb, "num_steps": 20})
    assert not list(directory.path.glob("scratch*"))
    assert not processes_of(directory)

    _, out, _ = autoresearch("runs")
    assert directory.path.name in out
    assert f"val_bpb {result.val_bpb:.6f} (cheap, not ranked: token_budget" in out
    assert "ranked:             no, token_budget" in done.stdout
    assert "under a token budget the recipe's own process counts the steps" in " ".join(done.stdout.split())
    (listed,) = json.loads(autoresearch("runs", "--json")[1])
    assert listed["result"]["val_bpb"] == result.val_bpb

    code, out, error = autoresearch("evaluate", directory.path, "--rung", "full")
    assert code == 0, error
    assert directory.result().rung == "full"
    assert directory.result().num_steps == 20

    before = directory.result()
    code, _, error = autoresearch("train", "--resume", directory.path)
    assert (code, directory.result()) == (0, before)


def recorded_numbers(directory: RunDirectory) -> dict[str, float]:
    """Of the run with this directory's id, straight from the store: importing MLflow takes seconds."""
    query = "select key, value from latest_metrics where run_uuid = (select run_uuid from tags where value = ?)"
    with closing(sqlite3.connect(directory.path.parent / "mlflow.db")) as store:
        numbers = dict(store.execute(query, [directory.path.name]))
    return {name: numbers[name] for name in ("val_bpb_unranked", "num_steps")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_prepare_that_is_told_to_end_leaves_nothing_running(tmp_path, number):
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    program += "from services.console.main import main; main()"
    home = tmp_path / "home"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "prepare", "--corpus", "stdlib", "--name", f"ended-by-{int(number)}"],
        cwd=CHECKOUT, env={**os.environ, "ARE_HOME": str(home)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: list(home.glob("datasets/*/train/.00000.u16.*.tmp")))
        (preparing,) = [child for child in psutil.Process(process.pid).children() if is_preparing(child)]
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert ("run the same command again to continue" in error) == (number != signal.SIGKILL)
    wait_for(lambda: is_gone(preparing))
    assert not list(home.rglob("*.tmp"))


def is_preparing(process):
    return "services.prepare" in process.cmdline()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130), (signal.SIGKILL, -9)]
)
def test_an_interrupted_train_says_how_to_go_on(workplace, tmp_path, number, code):
    (tmp_path / "slow.py").write_bytes(SLOW)
    # a shell ignores the interrupt for what runs in its background, nohup the hang-up; a person's terminal does not
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    program += "from services.console.main import main; main()"
    command = [sys.executable, "-c", program, "train", "--recipe", str(tmp_path / "slow.py"), *SHAPE_OPTIONS, *TINY]
    command += ["--tokens", "10000000", "--engine", "mlx"]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        metrics = wait_for(lambda: [file for file in workplace.glob("*/metrics.jsonl") if file.stat().st_size])
        directory = RunDirectory(metrics[0].parent)
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert (f"autoresearch train --resume {directory.path}" in error) == (number != signal.SIGKILL)
    wait_for(lambda: not processes_of(directory))
    wait_for(lambda: directory.training())
    assert directory.training().status is Status.CANCELLED
    assert directory.result() is None


# trouble on the way

FILL = """
import sys, time
from pathlib import Path
deadline = time.monotonic() + 120
while not Path(sys.argv[1]).exists():
    time.sleep(0.01)
    if time.monotonic() > deadline:
        sys.exit("there was no checkpoint")
with open(sys.argv[2], "wb", buffering=0) as file:
    try:
        for _ in range(16384):  # 64 MiB: more than the small disk has, and no harm to another
            file.write(bytes(4096))
    except OSError: pass
"""


@pytest.fixture
def own_home(tmp_path, workplace, monkeypatch) -> Path:
    """A copy of the prepared home that a test may damage."""
    home = Path(shutil.copytree(settings().home, tmp_path / "home"))
    monkeypatch.setenv("ARE_HOME", str(home))
    settings.cache_clear()
    return home


def damage(file: Path) -> bytes:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return content


@pytest.mark.parametrize("name", ["dataset.json", "train/rows-64.u16"])
def test_a_damaged_dataset_is_one_line_and_leaves_no_run(autoresearch, own_home, workplace, honest, name):
    damage(own_home / "datasets" / "words" / name)
    code, _, error = autoresearch("train", "--recipe", honest, *SHAPE_OPTIONS, *TINY)
    assert code == 2
    assert name.split("/")[-1] in the_line(error)
    assert not list(workplace.iterdir())


def test_damaged_validation_rows_stop_the_evaluation_and_a_repair_lets_it_go_on(autoresearch, own_home):
    directory = make_trained_run(LIGHT_RECIPE.encode(), engine="mlx")
    write_record(directory.training_file, TrainingRecord(status=Status.OK))
    rows = own_home / "validation" / "words" / "rows-2048.u16"
    content = damage(rows)
    code, _, error = autoresearch("train", "--resume", directory.path)
    assert code == 2
    assert f"autoresearch train --resume {directory.path}" in the_line(error)
    assert directory.result() is None
    rows.write_bytes(content)
    assert autoresearch("train", "--resume", directory.path)[0] == 0


def test_a_damaged_checkpoint_is_one_line_that_says_how_to_start_over(autoresearch):
    directory = make_trained_run(LIGHT_RECIPE.encode(), engine="mlx")
    write_record(directory.training_file, TrainingRecord(status=Status.OK))
    damage(weights_file(directory))
    code, _, error = autoresearch("train", "--resume", directory.path)
    assert code == 2
    assert f"delete {directory.checkpoint_dir} and resume the run" in the_line(error)
    shutil.rmtree(directory.checkpoint_dir)
    assert autoresearch("train", "--resume", directory.path)[0] == 0
    assert directory.result().num_steps == 20


@pytest.mark.parametrize("name", ["job.json", "result.json", "training.json"])
def test_a_damaged_record_is_one_line_that_names_it(autoresearch, workplace, name):
    directory = make_finished_run(workplace)
    if name == "training.json":
        directory.result_file.unlink()
    damage(directory.path / name)
    code, _, error = autoresearch("train", "--resume", directory.path)
    assert code == 2
    assert f"{name} is not a valid" in the_line(error)
    assert "not a valid" in autoresearch("runs")[1] or name == "training.json"


def test_runs_reads_around_damaged_telemetry(autoresearch, workplace):
    directory = make_run()
    lines = [step.model_dump_json() for step in make_steps(8)]
    directory.metrics_file.write_text("\n".join([*lines, "{cut"]))
    code, out, _ = autoresearch("runs")
    assert code == 0
    assert "interrupted while training at step 7" in out


def test_words_in_brackets_are_printed_as_they_are(autoresearch, workplace):
    result = make_result(val_bpb=None, status=Status.CRASHED, reason="KeyError: [/x] [bold]\x1b[31m\nsecond")
    directory = make_finished_run(workplace, result)
    write_record(directory.training_file, TrainingRecord(status=Status.CRASHED))
    assert "crashed: KeyError: [/x] [bold] [31m second" in autoresearch("runs")[1]
    assert summary.conclude(result, directory) == 1


def test_a_full_disk_ends_with_one_line_and_with_room_the_run_goes_on(autoresearch, tmp_path, monkeypatch):
    """Telemetry that was damaged meanwhile is no hindrance."""
    with mounted(tmp_path / "small", "24m") as disk:
        monkeypatch.setenv("ARE_RUNS", str(disk))
        settings.cache_clear()
        policy = CheckpointPolicy(every_s=0.2)
        directory = make_run(SLOW, engine="mlx", budget=Budget(tokens=60 * SHAPE.total_batch_size), checkpoints=policy)
        record = directory.checkpoint_dir / "latest.json"
        filling = subprocess.Popen([sys.executable, "-c", FILL, str(record), str(disk / "filler")])
        code, _, error = autoresearch("train", "--resume", directory.path)
        filling.kill()
        filling.wait()
        assert code == 74, error
        assert "No space left on device" in the_line(error)
        (disk / "filler").unlink()
        assert directory.has_checkpoint()
        with open(directory.metrics_file, "ab") as metrics:
            metrics.write(b"\x00" * 100)
        code, _, error = autoresearch("train", "--resume", directory.path)
        assert code == 0, error
        assert directory.training().resumed_from_step > 0
        assert [step.step for step in directory.steps()] == list(range(60))
        assert not list(directory.path.rglob("*.partial"))
        assert not list(directory.path.rglob("*.tmp"))


@pytest.mark.parametrize(("rung", "waits"), [("smoke", True), ("cheap", False)])
def test_a_smoke_run_of_an_edited_recipe_is_recorded_with_the_next_run(workplace, monkeypatch, capsys, rung, waits):
    """It looks for mistakes: opening MLflow takes a quarter of its time, and nobody compares its number."""
    recorded = []
    monkeypatch.setattr("shared.tracking.record", lambda path: recorded.append(path) or Recorded("run-1"))
    monkeypatch.setattr("shared.tracking.flush_outbox", list)
    unranked = {"ranked": False, "unranked": (Unranked.SMOKE_RUNG,)} if waits else {}
    directory = make_finished_run(workplace, make_result().model_copy(update={"rung": Rung(rung), **unranked}))
    summary.record_run(directory)
    assert [note.stem for note in pending_notes()] == ["run-1"] * waits
    assert len(recorded) == (not waits)
    assert ("recorded in MLflow with the next run" in capsys.readouterr().err) == waits


@pytest.mark.slow
def test_the_smoke_run_of_the_shipped_recipe_in_a_fresh_clone_gives_a_number_that_is_not_ranked(
    autoresearch, workplace, tmp_path, monkeypatch
):
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    code, out, error = autoresearch("train", "--smoke", "--engine", "torch", "--device", "cpu")
    assert code == 0, error
    (file,) = workplace.glob("*/result.json")
    result = RunDirectory(file.parent).result()
    assert (result.rung, result.ranked, result.depth) == ("smoke", False, 2)
    assert result.training_seconds == pytest.approx(5, abs=3)
    assert "not comparable: smoke and probe score too little text to rank a run" in " ".join(out.split())
