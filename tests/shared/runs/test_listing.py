"""The list of runs: what became of each, from its directory alone."""

import json
import os

import pytest

from shared.contracts import Integrity, Status, Unranked
from shared.runs.listing import list_runs
from tests.shared.tracking.finished_runs import make_result, make_run


@pytest.fixture
def interrupted(tmp_path):
    """A run whose processes were killed while it trained."""
    directory = make_run(tmp_path)
    for file in (directory.result_file, directory.evaluation_file, directory.training_file):
        file.unlink()
    return directory


def only_run(root):
    (listed,) = list_runs(root=root)
    return listed


def test_a_finished_run_shows_its_number(tmp_path):
    make_run(tmp_path)
    listed = only_run(tmp_path)
    assert (listed.state, listed.summary) == ("finished", "ok: val_bpb 1.441619 (reference)")


def test_a_failed_run_shows_its_reason(tmp_path):
    make_run(tmp_path, make_result("bad", None, Status.DIVERGED, "loss 131.2 above 100"))
    assert only_run(tmp_path).summary == "diverged: loss 131.2 above 100"


def test_an_interrupted_run_shows_how_far_it_came_despite_a_torn_last_line(tmp_path, interrupted):
    lines = interrupted.metrics_file.read_text().splitlines(keepends=True)[:60]
    interrupted.metrics_file.write_text("".join(lines) + '{"step": 60, "prog')
    listed = only_run(tmp_path)
    assert (listed.state, listed.summary) == ("interrupted", "interrupted while training at step 59 (50%)")


def test_a_run_somebody_works_on_is_running(tmp_path, interrupted):
    with interrupted.locked():
        assert only_run(tmp_path).summary == "running while training at step 119 (100%)"


def test_a_run_interrupted_before_its_first_step_says_so(tmp_path, interrupted):
    interrupted.metrics_file.unlink()
    assert only_run(tmp_path).summary == "interrupted before the first step"


def test_a_run_interrupted_during_evaluation_says_so(tmp_path):
    directory = make_run(tmp_path)
    directory.result_file.unlink()
    assert only_run(tmp_path).summary == "interrupted after training, before it had a result"


def test_a_damaged_record_is_listed_and_hides_no_other_run(tmp_path):
    make_run(tmp_path, make_result("good"))
    make_run(tmp_path, make_result("damaged")).result_file.write_text("{")
    states = {listed.path.name: listed.state for listed in list_runs(root=tmp_path)}
    assert states == {"good": "finished", "damaged": "unreadable"}


def folder_for_a_record(run):
    run.result_file.unlink()
    run.result_file.mkdir()


def link_to_nowhere(run):
    run.job_file.unlink()
    run.job_file.symlink_to(run.path / "gone.json")


def link_to_itself(run):
    run.job_file.unlink()
    run.job_file.symlink_to(run.job_file)


def metrics_that_are_a_folder(run):
    run.result_file.unlink()
    run.training_file.unlink()
    run.metrics_file.unlink()
    run.metrics_file.mkdir()


def a_number_without_success(run):
    content = json.loads(run.result_file.read_text())
    run.result_file.write_text(json.dumps(content | {"status": "crashed"}))


@pytest.mark.parametrize("spoil", [link_to_nowhere, link_to_itself], ids=lambda f: f.__name__)
def test_a_link_that_leads_to_no_job_is_no_run_and_hides_no_other(tmp_path, spoil):
    make_run(tmp_path, make_result("good"))
    spoil(make_run(tmp_path, make_result("odd")))
    assert [listed.run_id for listed in list_runs(root=tmp_path)] == ["good"]


@pytest.mark.parametrize("spoil", [folder_for_a_record, a_number_without_success], ids=lambda f: f.__name__)
def test_an_odd_run_directory_is_listed_as_that_and_hides_no_other_run(tmp_path, spoil):
    make_run(tmp_path, make_result("good"))
    spoil(make_run(tmp_path, make_result("odd")))
    states = {listed.run_id: listed.state for listed in list_runs(root=tmp_path)}
    assert states == {"good": "finished", "odd": "unreadable"}


def test_telemetry_that_is_no_file_costs_only_how_far_the_run_came(tmp_path):
    metrics_that_are_a_folder(make_run(tmp_path))
    assert only_run(tmp_path).summary == "interrupted before the first step"


def test_the_newest_runs_come_first_and_folders_that_are_no_runs_are_left_out(tmp_path):
    (tmp_path / "outbox").mkdir()
    for age, name in enumerate(["newest", "middle", "oldest"]):
        os.utime(make_run(tmp_path, make_result(name)).job_file, (1e9 - age, 1e9 - age))
    assert [listed.run_id for listed in list_runs(limit=2, root=tmp_path)] == ["newest", "middle"]


def test_a_listed_run_can_be_written_as_json_with_its_records(tmp_path, interrupted):
    fields = json.loads(json.dumps(only_run(tmp_path).to_dict()))
    assert (fields["state"], fields["job"]["seed"], fields["result"]) == ("interrupted", 42, None)


def test_runs_can_be_asked_for_by_integrity_and_by_being_ranked(tmp_path):
    full, demo = make_result("full"), make_result("demo")
    make_run(tmp_path, full.model_copy(update={"integrity": Integrity.FULL}))
    make_run(tmp_path, demo.model_copy(update={"ranked": False, "unranked": (Unranked.DEMO_CORPUS,)}))
    make_run(tmp_path, make_result("bad", None, Status.CRASHED))
    assert [listed.run_id for listed in list_runs(root=tmp_path, integrity=Integrity.FULL)] == ["full"]
    assert [listed.run_id for listed in list_runs(root=tmp_path, only_ranked=True)] == ["full"]
    (shown,) = [listed.summary for listed in list_runs(root=tmp_path) if listed.run_id == "demo"]
    assert shown == "ok: val_bpb 1.441619 (reference, not ranked: demo_corpus)"
