"""A run directory: laid out whole or not at all, one line for a damaged file, locked by whoever works on it."""

import json
import os
import subprocess
import sys
import tracemalloc

import pytest

from shared.runs import directory as run_directory
from shared.runs.directory import RunDirectory, read_json
from shared.settings import CHECKOUT, settings
from tests.shared.tracking.finished_runs import RECIPE, make_job, make_run, make_steps

RECORDS = {
    "job.json": RunDirectory.job,
    "training.json": RunDirectory.training,
    "evaluation.json": RunDirectory.evaluation,
    "result.json": RunDirectory.result,
}


@pytest.fixture
def finished(tmp_path) -> RunDirectory:
    return make_run(tmp_path)


def test_what_is_written_is_what_is_read(tmp_path):
    directory = RunDirectory(tmp_path / "run-1")
    directory.create(make_job(), RECIPE)
    assert directory.job() == make_job()
    assert directory.verified_recipe().read_bytes() == RECIPE
    assert (directory.training(), directory.evaluation(), directory.result()) == (None, None, None)
    assert list(directory.steps()) == []
    assert not directory.has_checkpoint()


def test_a_run_id_lies_under_the_runs_folder_also_when_that_is_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARE_RUNS", "my-runs")
    settings.cache_clear()
    assert RunDirectory.of("run-1").path == tmp_path / "my-runs" / "run-1"
    settings.cache_clear()


def test_a_taken_id_is_refused_and_the_old_run_untouched(finished):
    with pytest.raises(FileExistsError):
        finished.create(make_job(), b"other")
    assert finished.recipe_file.read_bytes() == RECIPE


@pytest.mark.parametrize("failing_write", [0, 1])
def test_a_directory_that_cannot_be_laid_out_is_not_left_behind(tmp_path, monkeypatch, failing_write):
    real, writes = os.replace, []

    def replace(*paths):
        writes.append(paths)
        if len(writes) > failing_write:
            raise OSError(28, "No space left on device")
        real(*paths)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        RunDirectory(tmp_path / "run-1").create(make_job(), RECIPE)
    assert not (tmp_path / "run-1").exists()


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("damage", ["cut", "garbage", "another field", "wrong type", "empty"])
def test_a_damaged_record_is_one_line_that_names_the_file(finished, name, damage):
    file = finished.path / name
    whole = file.read_bytes()
    fields = json.loads(whole)
    file.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "garbage": b"\x00\xff" * 50,
            "another field": json.dumps(fields | {"val_bpb_mine": 0.1}).encode(),
            "wrong type": json.dumps(fields | {next(iter(fields)): [1]}).encode(),
            "empty": b"",
        }[damage]
    )
    with pytest.raises(ValueError, match=name) as caught:
        RECORDS[name](finished)
    assert "\n" not in str(caught.value)


def test_a_missing_job_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"job\.json is missing"):
        RunDirectory(tmp_path).job()


def test_a_recipe_that_is_not_the_jobs_is_refused(finished):
    finished.recipe_file.write_bytes(RECIPE + b"#")
    with pytest.raises(ValueError, match="not the recipe this job names"):
        finished.verified_recipe()


@pytest.mark.parametrize("damage", [b"", b'{"step": 1', b"\x00" * 64 + b"\n", b"\xff\xfe\n", b"{}\n"])
def test_telemetry_is_read_around_damaged_lines(finished, damage):
    lines = [step.model_dump_json().encode() + b"\n" for step in make_steps(4)]
    finished.metrics_file.write_bytes(lines[0] + lines[1] + (damage if damage.endswith(b"\n") else b"") + lines[2])
    with open(finished.metrics_file, "ab") as file:
        file.write(damage)
    assert [step.step for step in finished.steps()] == [0, 1, 2]


def test_telemetry_cut_at_any_byte_gives_the_whole_lines(finished):
    whole = "".join(step.model_dump_json() + "\n" for step in make_steps(3)).encode()
    for size in range(0, len(whole), 7):
        finished.metrics_file.write_bytes(whole[:size])
        complete = whole[:size].count(b"\n")
        assert len(list(finished.steps())) in (complete, complete + 1)


HOLDER = """
import sys
from pathlib import Path
from shared.runs.directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_is_in_use_until_its_worker_dies(finished, monkeypatch):
    monkeypatch.setattr(run_directory, "LOCK_TIMEOUT_S", 0.05)
    argv = [sys.executable, "-c", HOLDER, str(finished.path)]
    holder = subprocess.Popen(argv, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    assert finished.in_use()
    with pytest.raises(ValueError, match="in use by another process"), finished.locked():
        pass
    holder.kill()
    holder.communicate()
    assert not finished.in_use()


def test_a_stage_of_a_run_waits_for_one_that_still_ends(finished, monkeypatch):
    monkeypatch.setattr(run_directory, "STAGE_LOCK_TIMEOUT_S", 0.05)
    in_use = pytest.raises(ValueError, match="in use by another process")
    with finished.locked(), finished.stage_locked(), in_use, finished.stage_locked():
        pass
    with finished.stage_locked():
        pass


def test_other_json_is_read_with_the_name_of_a_damaged_file(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON"):
        read_json(tmp_path / "x.json")


def test_telemetry_without_an_end_of_line_is_not_read_into_memory(finished):
    before = list(finished.steps())
    with open(finished.metrics_file, "ab") as file:
        file.write(b"[" * 1_000_000)
    tracemalloc.start()
    assert list(finished.steps()) == before
    assert tracemalloc.get_traced_memory()[1] < 900_000
    tracemalloc.stop()
