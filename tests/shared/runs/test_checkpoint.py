"""Checkpoints on disk: one is in force, whatever is interrupted, and damage is named."""

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from shared import files
from shared.engines.shared_buffer import HostBuffer
from shared.runs import checkpoint
from shared.runs.checkpoint import CheckpointRecord, commit, free_folder, latest, read_arrays
from tests.fake_engine import SHAPE, FakeEngine
from tests.handed_over import write_arrays

ENGINE = FakeEngine()
GROUPS = ("model", "optimizer", "rng")


def arrays(step: int) -> dict:
    values = {"a": np.full(5, step), "b": np.arange(3.0) * step}
    return {"model": values, "optimizer": values, "rng": ENGINE.rng_state()}


def save(directory: Path, step: int, final: bool = False) -> CheckpointRecord:
    folder = free_folder(directory, step)
    written = write_arrays(ENGINE, directory / folder, arrays(step))
    record = CheckpointRecord(
        folder=folder, step=step, tokens=step * 32, next_row=step * 4, train_seconds=step, loss_ema=1.0, final=final,
        recipe_sha="0" * 64, shape=SHAPE, files=written,
    )  # fmt: skip
    commit(directory, record)
    return record


def restored_step(directory: Path) -> int:
    record = latest(directory)
    state = read_arrays(ENGINE, directory / record.folder, GROUPS)
    assert (state["model"]["a"] == record.step).all()
    return record.step


def test_what_is_saved_comes_back(tmp_path):
    record = save(tmp_path, 7)
    assert latest(tmp_path) == record
    state = read_arrays(ENGINE, tmp_path / record.folder, GROUPS)
    for group, expected in arrays(7).items():
        for name, array in expected.items():
            assert np.array_equal(state[group][name], array)


def test_a_directory_without_a_record_has_no_checkpoint(tmp_path):
    assert latest(tmp_path) is None
    write_arrays(ENGINE, tmp_path / "step-00000001", arrays(1))
    assert latest(tmp_path) is None


def test_only_the_newest_is_kept(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step)
    assert {path.name for path in tmp_path.iterdir()} == {"latest.json", "step-00000003"}


class Killed(BaseException):
    """As kill -9 would, nothing after the seam runs: neither the next write nor the clearing up."""


SEAMS = {
    "read": (HostBuffer, "read_into"),
    "replace": (os, "replace"),
    "rename": (Path, "rename"),
    "rmtree": (shutil, "rmtree"),
    "sync": (checkpoint, "sync_directory"),
    "sync of a file": (files, "sync_directory"),
}


def killing(monkeypatch, seam: str, call: int) -> None:
    """The `call`-th call of the seam never happens, and nothing is cleared up afterwards."""
    owner, name = SEAMS[seam]
    real, calls = getattr(owner, name), itertools.count()

    def wrapped(*arguments, **options):
        if next(calls) == call:
            monkeypatch.setattr(shutil, "rmtree", lambda *a, **o: None)
            monkeypatch.setattr(Path, "unlink", lambda *a, **o: None)
            raise Killed
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, wrapped)


@pytest.mark.parametrize("next_step", [10, 11], ids=["same step", "next step"])
@pytest.mark.parametrize("seam", SEAMS)
@pytest.mark.parametrize("call", range(4))
def test_a_kill_between_any_two_writes_leaves_a_whole_checkpoint_in_force(tmp_path, seam, call, next_step):
    save(tmp_path, 10)
    with pytest.MonkeyPatch.context() as patch:
        killing(patch, seam, call)
        with suppress(Killed):
            save(tmp_path, next_step, final=True)
    assert restored_step(tmp_path) in (10, next_step)
    save(tmp_path, 12)
    assert restored_step(tmp_path) == 12
    assert {path.name for path in tmp_path.glob("*") if path.name[0] != "."} == {"latest.json", "step-00000012"}
    assert not list(tmp_path.glob("*.partial"))


def test_a_write_that_fails_leaves_nothing_of_itself(tmp_path, monkeypatch):
    save(tmp_path, 10)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HostBuffer, "read_into", full)
    with pytest.raises(OSError, match="No space"):
        save(tmp_path, 11)
    assert {path.name for path in tmp_path.iterdir()} == {"latest.json", "step-00000010"}
    assert restored_step(tmp_path) == 10


@pytest.mark.parametrize("name", [f"{group}.safetensors" for group in GROUPS])
@pytest.mark.parametrize("damage", ["cut", "one bit", "gone"])
def test_a_damaged_file_of_it_is_named_with_what_to_do(tmp_path, name, damage):
    file = tmp_path / save(tmp_path, 3).folder / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.unlink() if damage == "gone" else file.write_bytes(content if damage == "one bit" else content[:-4])
    with pytest.raises(ValueError, match=rf"{name} is missing or corrupt: delete .* and resume") as caught:
        latest(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "{}", "\x00"])
def test_a_damaged_record_is_named(tmp_path, text):
    save(tmp_path, 3)
    (tmp_path / "latest.json").write_text(text)
    with pytest.raises(ValueError, match=r"latest\.json is not a valid CheckpointRecord"):
        latest(tmp_path)


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", "curve-01", "step-1"])
def test_a_record_cannot_name_a_folder_elsewhere(tmp_path, folder):
    record = save(tmp_path, 3)
    text = record.model_dump_json().replace(record.folder, folder)
    (tmp_path / "latest.json").write_text(text)
    with pytest.raises(ValueError, match="folder"):
        latest(tmp_path)


def keep_point(directory: Path, number: int, train_seconds: float) -> checkpoint.CurveRecord:
    folder = directory / f"curve-{number:02d}"
    written = write_arrays(ENGINE, folder, {"model": arrays(number)["model"]})
    sha = written["model.safetensors"]
    record = checkpoint.CurveRecord(progress=0.5, train_seconds=train_seconds, step=number, sha256=sha)
    (folder / "record.json").write_text(record.model_dump_json())
    return record


def test_points_of_the_curve_survive_checkpoints_and_are_verified(tmp_path):
    write_arrays(ENGINE, tmp_path / "curve-01", {"model": arrays(1)["model"]})
    assert checkpoint.curve_folders(tmp_path) == [], "without a record it is none"
    record = keep_point(tmp_path, 1, 1.0)
    save(tmp_path, 2)
    (folder,) = checkpoint.curve_folders(tmp_path)
    assert checkpoint.read_curve_record(folder) == record
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="missing or corrupt"):
        checkpoint.read_curve_record(folder)


def test_only_points_on_the_way_to_the_restored_checkpoint_stay(tmp_path):
    keep_point(tmp_path, 1, 1.0)
    restored = save(tmp_path, 2)
    keep_point(tmp_path, 2, 2.5)
    write_arrays(ENGINE, tmp_path / "curve-03", {"model": arrays(3)["model"]})  # killed before its record
    (tmp_path / ".curve-04.partial").mkdir()
    assert checkpoint.drop_points_beyond(tmp_path, restored) == 1
    assert [path.name for path in sorted(tmp_path.glob("*curve*"))] == ["curve-01"]


def test_no_point_stays_where_training_begins_anew(tmp_path):
    keep_point(tmp_path, 1, 1.0)
    assert checkpoint.drop_points_beyond(tmp_path, None) == 0
    assert not list(tmp_path.glob("*curve*"))
