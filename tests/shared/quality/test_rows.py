"""Where rows come from, and what is left out on the way."""

import json

import pytest

from shared.contracts import Choice, Integrity, Rung, Status, Unranked
from shared.quality import published_rows, published_runs, read_rows, rows_of_results, rows_of_runs, write_rows
from shared.runs.listing import ListedRun
from shared.runs.shipped import is_shipped, shipped_recipes
from tests.shared.tracking.finished_runs import make_job, make_result

SHIPPED = sorted(shipped_recipes())[0]


def listed(result=None, job=None, sha=SHIPPED, **changes):
    job = (job or make_job()).model_copy(update={"recipe_sha": sha})
    changes = {"recipe_sha": sha, "integrity": Integrity.FULL, **changes}
    result = (result or make_result()).model_copy(update=changes)
    return ListedRun(job.run_id, None, "finished", "", 0.0, job, result)


def test_the_published_rows_are_those_of_the_spec():
    rows = published_rows()
    m5 = [30_916_608, 13_099_008, 5_455_872, 4_096_000, 2_654_208]
    assert [row.num_tokens for row in rows] == [*m5, 148_373_504, 74_907_648, 40_665_088, 499_646_464]
    assert [row.val_bpb for row in rows][-1] == 0.9979
    assert len({row.source for row in rows}) == 9
    assert {row.dataset for row in rows} == {"climbmix"}


def test_published_memory_is_that_of_the_spec():
    assert [run.row for run in published_runs()] == [*published_rows()]
    m5, gb10, h100 = [282, 1010, 2770, 2660, 7440], [1160, 3590, 6000], [45060]
    assert [run.memory_mb for run in published_runs()] == [*m5, *gb10, *h100]


def test_a_finished_run_of_a_shipped_recipe_is_a_row():
    uncharged = Choice(what="recipe source", chosen="0 bytes", reason="shipped")
    run = listed(choices=(uncharged,))
    (row,) = rows_of_runs(runs=[run])
    assert (row.source, row.val_bpb, row.rung) == ("run-1", 1.441619, Rung.REFERENCE)
    assert row.num_tokens == 120 * 12288
    assert row.dataset == "d" * 64
    assert row.hardware_key == "apple-m5-32gb-10gpu"
    assert rows_of_results([run.result.model_copy(update={"shape": run.job.shape})]) == (row,)


def test_a_result_of_an_older_version_that_names_no_shape_is_no_row():
    assert rows_of_results([listed().result.model_copy(update={"shape": None})]) == ()


@pytest.mark.parametrize(
    "run",
    [
        listed(sha="f" * 64),
        listed(result=make_result(val_bpb=None, status=Status.DIVERGED)),
        listed(eval_signature="of another version"),
        listed(rung=Rung.SMOKE),
        listed(num_steps=0),
        listed(job=make_job().model_copy(update={"kernels": {"fused_mlp": "torch_unproved"}})),
        listed(choices=(Choice(what="kernels", chosen="fused_mlp torch_unproved", reason="promoted"),)),
        listed(integrity=None),
        listed(integrity=Integrity.NONE),
        listed(ranked=False, unranked=(Unranked.BUSY_MACHINE,)),
        listed(ranked=False, unranked=(Unranked.OVER_BUDGET,)),
        listed(choices=(Choice(what="recipe source", chosen="900 bytes", reason="with a kernel that is tried"),)),
    ],
    ids=[
        "edited recipe",
        "diverged",
        "other evaluation",
        "smoke",
        "no step",
        "unproved kernel",
        "kernel chosen for it",
        "not recorded sandbox",
        "no sandbox",
        "busy machine",
        "over budget",
        "charged",
    ],
)  # fmt: skip
def test_other_runs_are_no_rows(run):
    assert rows_of_runs(runs=[run]) == ()
    if is_shipped(run.job):  # else only the job says so
        assert rows_of_results([run.result.model_copy(update={"shape": run.job.shape})]) == ()


def test_rows_survive_writing_and_reading(tmp_path):
    write_rows(tmp_path / "rows.json", published_rows())
    assert read_rows(tmp_path / "rows.json").rows == published_rows()
    write_rows(tmp_path / "rows.json", [])
    assert read_rows(tmp_path / "rows.json").rows == ()


def test_damaged_rows_are_named_and_left_out(tmp_path):
    entries = [row.model_dump(mode="json") for row in published_rows()[:3]]
    entries[1]["val_bpb"] = "NaN"
    (tmp_path / "rows.json").write_text(json.dumps([*entries, "no row"]))
    found = read_rows(tmp_path / "rows.json")
    assert found.rows == (published_rows()[0], published_rows()[2])
    assert [note.split(",")[0] for note in found.notes] == ["rows.json: row 2 left out", "rows.json: row 4 left out"]


@pytest.mark.parametrize("content", [b'[{"source": ', b'{"rows": []}', b"\xff\xfe"])
def test_a_file_that_is_no_snapshot_is_one_line(tmp_path, content):
    (tmp_path / "rows.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"rows\.json is no .*fetch the snapshot again"):
        read_rows(tmp_path / "rows.json")
