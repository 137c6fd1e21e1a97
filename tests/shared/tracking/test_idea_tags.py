"""A run of an idea says in MLflow which idea it is, what that changes, and why."""

from shared.contracts import IdeaRef
from shared.runs.directory import write_record
from shared.tracking import mlflow_mapping
from shared.tracking.run_bundle import read_bundle
from tests.shared.tracking.finished_runs import make_run


def test_tags_name_the_idea_and_parameters_do_not_repeat_it(tmp_path):
    directory = make_run(tmp_path)
    idea = IdeaRef(id="i0123456789", parent="iabcdef0123", note="shorter warmup", diff="+x = 1\n")
    write_record(directory.job_file, directory.job().model_copy(update={"idea": idea}))
    bundle = read_bundle(directory.path)
    tags = mlflow_mapping.tags(bundle)
    assert (tags["are.idea"], tags["are.parent_idea"]) == ("i0123456789", "iabcdef0123")
    assert tags["idea.note"] == "shorter warmup"
    assert not any("diff" in name or "idea" in name for name in mlflow_mapping.params(bundle))
