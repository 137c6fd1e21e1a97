"""Where artifacts go: never where whoever made the experiment first would like to have them."""

import pytest

from shared.settings import settings
from shared.tracking import flush_outbox, mlflow_store, record
from shared.tracking.artifact_location import is_allowed, own_folder
from shared.tracking.live import Followed, create
from shared.tracking.mlflow_mapping import experiment_name
from tests.mlflow_server import MlflowServer, empty_store, runs, use_server
from tests.shared.tracking.finished_runs import make_run

__all__ = ["empty_store", "runs", "use_server"]


def client():
    return mlflow_store._client(settings().mlflow_uri)


def test_a_run_whose_experiment_points_elsewhere_waits_and_is_recorded_when_that_is_gone(runs, tmp_path):
    chosen = tmp_path / "chosen by a stranger"
    experiment = client().create_experiment(experiment_name("mac"), artifact_location=chosen.as_uri())
    waits = record(make_run(runs).path)
    assert "ValueError: MLflow's experiment 'autoresearch mac' keeps artifacts in file://" in waits.pending_reason
    assert "rename or delete the experiment" in waits.pending_reason
    assert not chosen.exists()
    client().rename_experiment(experiment, "somebody's")
    assert [recorded.pending_reason for recorded in flush_outbox()] == [""]


def test_a_run_that_trains_is_not_shown_in_such_an_experiment(runs, tmp_path):
    client().create_experiment(experiment_name("mac"), artifact_location=(tmp_path / "chosen").as_uri())
    directory = make_run(runs)
    with pytest.raises(ValueError, match="keeps artifacts in"):
        create(client(), Followed(directory, directory.job(), 0.0, None))


def test_a_server_that_keeps_artifacts_itself_is_written_to_and_a_location_on_this_disk_is_not(
    runs, tmp_path, empty_store, use_server
):
    with MlflowServer(tmp_path / "server", empty_store) as server:
        use_server(server.uri)
        chosen = tmp_path / "chosen"
        experiment = client().create_experiment(experiment_name("mac"), artifact_location=chosen.as_uri())
        assert "keeps artifacts in" in record(make_run(runs).path).pending_reason
        assert not chosen.exists()
        client().rename_experiment(experiment, "somebody's")
        assert [recorded.pending_reason for recorded in flush_outbox()] == [""]
        assert list((tmp_path / "server" / "files").rglob("training.png"))


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc",
        "/etc",
        "chosen",
        "file:chosen",
        "s3://bucket/place",
        "http://elsewhere/place",
        "mlflow-artifacts://elsewhere:80/place",
        "file://elsewhere/place",
        "//elsewhere/place",
        "",
        "http://[",
    ],
)
def test_other_places_are_refused(runs, location):
    assert not is_allowed(location)


def test_the_own_folder_and_the_servers_are_taken(runs):
    assert is_allowed("mlflow-artifacts:/1")
    assert is_allowed((own_folder() / "mac").as_uri())
    assert is_allowed(str(own_folder() / "mac"))


def test_no_way_leads_out_of_the_own_folder(runs, tmp_path):
    own_folder().mkdir()
    (own_folder() / "link").symlink_to(tmp_path.parent)
    assert not is_allowed(f"{own_folder().as_uri()}/link")
    assert not is_allowed(f"{own_folder().as_uri()}/../other")
    assert not is_allowed(f"{own_folder().as_uri()}/%2e%2e/other")
    assert not is_allowed(f"{own_folder().as_uri()}-beside")
