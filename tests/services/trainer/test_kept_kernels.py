"""What an edited recipe compiled is there for its next run, and nothing else ever is. Real trainers."""

import errno
import os
import shutil
from pathlib import Path
from time import monotonic

import pytest

from services.trainer import kept_kernels
from services.trainer.compile_cache import CompileCache
from services.trainer.kept_kernels import Kept
from shared.contracts import Budget, CheckpointPolicy, Status, TrainingRecord
from shared.runs.directory import read_record, write_record
from shared.settings import CHECKOUT, settings
from tests.recipes import LIGHT, light
from tests.run_making import make_job, make_light_run
from tests.trainers import train

COMPILES = b"""
import os, pathlib
PLACE = pathlib.Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
PLACE.mkdir(parents=True, exist_ok=True)
KERNEL = PLACE / "kernel"
print("found", KERNEL.read_text() if KERNEL.exists() else "nothing")
KERNEL.write_text(KERNEL.read_text() + "+" if KERNEL.exists() else "kernel")
"""
"""a recipe that leaves one file, as a compiler would, and says what it found"""


@pytest.fixture(autouse=True)
def nothing_kept(workplace):
    shutil.rmtree(kept_kernels.folder(), ignore_errors=True)
    yield
    shutil.rmtree(kept_kernels.folder(), ignore_errors=True)


def trained(run_id: str, body: str = "", **changes) -> tuple[TrainingRecord, str]:
    """The record of a run that compiles, and what it found."""
    source = COMPILES + (light(body) if body else LIGHT.encode())
    run = make_light_run(source, run_id=run_id, **{"compile": "on"} | changes)
    record, _ = train(run)
    return record, run.output_file.read_text().strip()


def noted(record: TrainingRecord) -> list[str]:
    return [choice.chosen for choice in record.choices if choice.what == "compiled kernels"]


def kept_files() -> dict[str, str]:
    files = [path for path in kept_kernels.folder().glob("*/files/**/*") if path.is_file()]
    return {path.name: path.read_text() for path in files}


def test_later_runs_of_a_recipe_begin_with_what_the_first_one_compiled_and_say_so(workplace):
    records = [trained(run_id, seed=seed) for seed, run_id in enumerate(("a", "b", "c"))]
    assert [record.status for record, _ in records] == [Status.OK] * 3
    assert [found for _, found in records] == ["found nothing", "found kernel", "found kernel"]
    assert [noted(record) for record, _ in records] == [["kept"], ["of run a"], ["of run a"]]
    assert kept_files() == {"kernel": "kernel"}


def test_what_is_written_once_there_are_rows_is_not_kept(workplace):
    body = """
def step(self, rows, progress):
    if 0.5 < progress < 1:
        KERNEL.write_text(str(rows.tolist()))
        (PLACE / "rows").write_text(str(rows.tolist()))
    return super().step(rows, progress)
"""
    record, _ = trained("a", body)
    assert record.status is Status.OK, record.reason
    assert kept_files() == {"kernel": "kernel"}


OTHERS = {
    "another recipe": {"body": "# one word more"},
    "another shape": {"shape": {"device_batch_size": 8}},
    "another dtype": {"dtype": "bf16"},
    "nothing compiled": {"compile": "off"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_recipe_or_other_settings_begin_with_nothing(workplace, name):
    trained("a")
    changes = dict(OTHERS[name])
    if "shape" in changes:
        changes["shape"] = make_job().shape.model_copy(update=changes["shape"])
    if "body" in changes:
        changes = {"body": "def nothing(self):\n    pass"}
    record, found = trained("b", **changes)
    assert record.status is Status.OK, record.reason
    assert found == "found nothing"


def test_what_the_first_run_took_to_start_is_missing_from_the_limit_of_the_next(workplace):
    """A recipe that trains before its clock, and leaves what it learned, has no more time than in one start-up."""
    trained("a")
    record_file = next(kept_kernels.folder().glob("*/kept.json"))
    kept = read_record(record_file, Kept)
    write_record(record_file, kept.model_copy(update={"startup_seconds": settings().startup_timeout_s - 0.1}))
    record, _ = trained("b")
    assert (record.status, noted(record)) == (Status.TIMED_OUT, ["of run a"])
    assert record.reason.endswith("after 0 s")


def cache_of(scratch: Path, source: bytes, **changes) -> CompileCache:
    return CompileCache(make_job(source, compile="on", **changes), scratch, [])


def test_what_counts_for_the_next_run_is_all_of_the_first_ones_start_and_the_copy(workplace, tmp_path):
    first = cache_of(tmp_path / "a", b"recipe")
    (first.folder / "kernel").touch()
    first.keep("a", started=monotonic() - 300, early_s=20.0)
    first.close()
    assert 300 <= first_kept().startup_seconds < 301
    second = cache_of(tmp_path / "b", b"recipe")
    assert second.startup_limit_s == settings().startup_timeout_s - first_kept().startup_seconds
    assert second.kept_early_s == 20.0
    second.close()


def test_on_a_cpu_a_shipped_recipe_compiles_as_others_do_since_compiling_counts_as_training(workplace, tmp_path):
    shipped = (CHECKOUT / "services/trainer/recipes/gpt_torch.py").read_bytes()
    for device, is_private in (("cpu", True), ("cuda:0", False)):
        cache = cache_of(tmp_path / device, shipped, device=device)
        assert cache.is_private is is_private
        cache.close()


def test_a_shipped_recipe_that_tries_a_kernel_leaves_nothing_in_the_cache_of_this_machine(workplace, tmp_path):
    shipped = (CHECKOUT / "services/trainer/recipes/gpt_torch.py").read_bytes()
    job = make_job(shipped, compile="on", device="cuda:0")
    cache = CompileCache(job, tmp_path / "tries", [], tries_kernels=True)
    assert (cache.is_private, cache.keeps) == (True, False)
    cache.close()


def test_nor_does_one_that_could_use_a_kernel_nobody_shipped(workplace, tmp_path, monkeypatch):
    monkeypatch.setattr("services.trainer.compile_cache.other_kernels", lambda: (tmp_path / "torch_promoted.py",))
    shipped = (CHECKOUT / "services/trainer/recipes/gpt_torch.py").read_bytes()
    cache = cache_of(tmp_path / "promoted", shipped, device="cuda:0")
    assert cache.is_private
    cache.close()


def first_kept() -> Kept:
    return read_record(next(kept_kernels.folder().glob("*/kept.json")), Kept)


def test_a_run_that_took_more_than_half_of_the_limit_to_start_leaves_nothing(workplace, tmp_path):
    """So that whoever begins with what is kept has as long as the run that made it."""
    cache = cache_of(tmp_path, b"recipe")
    (cache.folder / "kernel").touch()
    cache.keep("a", started=monotonic() - settings().startup_timeout_s / 2 - 1, early_s=20.0)
    cache.close()
    assert [choice.chosen for choice in cache.choices] == ["not kept"]
    assert not kept_files()


def test_what_one_run_kept_stays_when_another_one_that_began_at_the_same_time_comes_later(workplace, tmp_path):
    for cache in [cache_of(tmp_path / name, b"recipe") for name in "ab"]:
        (cache.folder / "kernel").write_text(cache.folder.parent.name)
        cache.keep("run", started=monotonic(), early_s=20.0)
        cache.close()
    assert kept_files() == {"kernel": "a"}


DAMAGED = {
    "a file was cut short": ("files/kernel", "ker", "of 1 files with 6 bytes, 1 with 3 bytes are there"),
    "the record is cut short": ("kept.json", "{", "its record kept.json cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_set_is_removed_and_the_run_says_so_and_compiles_itself(workplace, tmp_path, name):
    file, content, why = DAMAGED[name]
    for run in "ab":
        cache = cache_of(tmp_path / run, b"recipe")
        if run == "b":
            assert not (cache.folder / "kernel").exists()
        (cache.folder / "kernel").write_text("kernel")
        cache.keep(run, started=monotonic(), early_s=20.0)
        cache.close()
        if run == "a":
            next(kept_kernels.folder().glob(f"*/{file}")).write_text(content)
    assert [choice.chosen for choice in cache.choices] == ["removed", "kept"]
    assert cache.choices[0].what == "compiled kernels"
    assert why in cache.choices[0].reason
    assert first_kept().run_id == "b"


def test_a_set_that_the_disk_has_no_room_for_stays_for_the_next_run(workplace, tmp_path, monkeypatch):
    cache = cache_of(tmp_path / "a", b"recipe")
    (cache.folder / "kernel").write_text("kernel")
    cache.keep("a", started=monotonic(), early_s=20.0)
    cache.close()

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(kept_kernels.shutil, "copytree", full)
        with pytest.raises(OSError, match="No space left"):
            kept_kernels.take(cache.key, tmp_path / "b")
    assert kept_files() == {"kernel": "kernel"}
    again = cache_of(tmp_path / "c", b"recipe")
    assert [choice.chosen for choice in again.choices] == ["of run a"]
    again.close()


def test_the_set_that_was_used_longest_ago_makes_room(workplace, tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_KEEP_KERNELS_GB", "0.0000025")  # 2,500 bytes
    settings.cache_clear()
    for number, name in enumerate("abc"):
        cache = cache_of(tmp_path / name, name.encode())
        (cache.folder / name).write_bytes(b"x" * 1000)
        cache.keep(name, started=monotonic(), early_s=20.0)
        cache.close()
        os.utime(next(kept_kernels.folder().glob(f"*/files/{name}")).parents[1] / "kept.json", (number, number))
        if name == "b":
            cache_of(tmp_path / "again", b"a").close()  # used again, so b is the oldest
    assert sorted(kept_files()) == ["a", "c"]


def test_nothing_is_kept_or_used_where_there_is_no_room_for_it(workplace, tmp_path, monkeypatch):
    trained("a")
    monkeypatch.setenv("ARE_KEEP_KERNELS_GB", "0")
    settings.cache_clear()
    _, found = trained("b")
    assert found == "found nothing"


def test_a_resumed_run_leaves_nothing(workplace):
    """Its process had seen rows once, and what it left behind a checkpoint could be found by this one."""
    body = """
def step(self, rows, progress):
    if 0.5 < progress < 1 and not KERNEL.read_text().endswith("+"):
        os._exit(1)
    return super().step(rows, progress)
"""
    source = COMPILES + light(body)
    run = make_light_run(
        source, run_id="a", compile="on", budget=Budget(seconds=4), checkpoints=CheckpointPolicy(every_s=0.2)
    )
    first, _ = train(run)
    assert first.status is Status.CRASHED
    assert run.has_checkpoint()
    shutil.rmtree(kept_kernels.folder())
    resumed, _ = train(run)
    assert resumed.resumed_from_step is not None or resumed.status is Status.CRASHED
    assert not kept_files()
    assert noted(resumed) == []


FAILED = {
    "crashes before it is ready": "def state(self):\n    os._exit(1)",
    "breaks the protocol before it is ready": "def logits(self, tokens_BT):\n    return 1",
}


@pytest.mark.parametrize("name", FAILED)
def test_a_run_that_does_not_get_ready_leaves_nothing(workplace, name):
    record, _ = trained("a", FAILED[name])
    assert record.status is not Status.OK
    assert not kept_files()


def test_a_run_without_a_sandbox_leaves_nothing(workplace, monkeypatch):
    monkeypatch.setenv("ARE_SANDBOX", "off")
    settings.cache_clear()
    record, _ = trained("a")
    assert record.status is Status.OK, record.reason
    assert not kept_files()


def test_a_recipe_that_puts_a_link_in_the_place_of_its_cache_leads_the_copy_nowhere(workplace):
    """At the rows, by name, lies what the supervisor may read and the recipe may not."""
    secret = settings().home / "datasets"
    body = f"""
CACHE = PLACE.parent
CACHE.rename(CACHE.with_name("aside"))
CACHE.symlink_to({str(secret)!r})
"""
    record, _ = trained("a", body)
    assert record.status is Status.OK, record.reason
    assert kept_files() == {"kernel": "kernel"}


ODD = {
    "a link": 'PLACE.joinpath("link").symlink_to("/etc/passwd")',
    "a pipe": 'os.mkfifo(PLACE / "pipe")',
    "ten gigabytes of nothing": 'open(PLACE / "large", "wb").truncate(10 << 30)',
}


@pytest.mark.parametrize("name", ODD)
def test_a_cache_that_holds_anything_odd_is_not_kept_and_the_run_goes_on(workplace, name):
    record, _ = trained("a", ODD[name])
    assert (record.status, noted(record)) == (Status.OK, ["not kept"]), record.reason
    assert not kept_files()


def test_no_recipe_can_read_or_change_what_is_kept(workplace):
    trained("a")
    kept = next(kept_kernels.folder().glob("*/files"))
    body = f"""
for attempt in (os.listdir, lambda path: open(path + "/inductor/kernel").read(), lambda path: os.mkdir(path + "/new")):
    try:
        attempt({str(kept)!r})
    except PermissionError:
        continue
    raise SystemExit("it worked")
"""
    record, _ = trained("b", body)
    assert record.status is Status.OK, record.reason
