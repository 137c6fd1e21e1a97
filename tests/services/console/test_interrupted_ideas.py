"""A run of an idea that somebody interrupts, or kills, is one of its tries; going on with it is no other."""

import pytest

from services.console.research import Here
from shared.contracts import Status
from shared.experiment.request import TrainRequest, build_job
from shared.runs.directory import RunDirectory
from shared.runs.listing import list_runs
from shared.stages.executors import NativeExecutor
from tests import ideas
from tests.ideas import RECIPE, TERMS
from tests.start_runs import measured_start


@pytest.fixture
def train(workplace, tmp_path, monkeypatch, capsys):
    ideas.alone(monkeypatch, tmp_path)
    ideas.fast_stages(monkeypatch)
    recipe = tmp_path / "mine.py"
    recipe.write_text(RECIPE.format(quality=1.9))
    autoresearch = ideas.typing(monkeypatch, capsys)
    measured_start()
    arguments = ("train", "--recipe", recipe, "--note", "mine", *TERMS)
    return lambda *instead, **options: autoresearch(*(instead or arguments), **options)


@pytest.fixture
def interrupted(train, monkeypatch):
    """Begins the idea's run and ends it before it has trained, as kill -9 does: there is a job and nothing else."""

    def interrupt(self, stage, arguments, watch):
        raise KeyboardInterrupt

    def make() -> RunDirectory:
        with monkeypatch.context() as patch:
            patch.setattr(NativeExecutor, "execute", interrupt)
            train(code=None)
        return RunDirectory(list_runs()[0].path)

    return make


def tries(directory: RunDirectory) -> list[Status]:
    return [one.status for one in Here().known().results[directory.job().idea.id]]


def test_three_runs_that_were_cut_short_are_all_and_the_last_is_still_gone_on_with(train, interrupted):
    directory = [interrupted() for _ in range(3)][-1]
    said = train(code=2).err
    assert "was made 3 times" in said
    assert f"interrupted before the first step: `autoresearch train --resume {directory.path}` goes on" in said
    assert tries(directory) == [Status.CANCELLED] * 3
    train("train", "--resume", directory.path)
    assert tries(directory) == [Status.CANCELLED] * 2 + [Status.OK], "it is the same run"
    known = Here().known()
    idea = known.ideas[directory.job().idea.id]
    (key,) = known.keys(idea)
    assert [one.run_id for one in known.evidence(idea, key).results] == [directory.path.name]


def test_a_run_that_is_under_way_is_no_try_yet(train, interrupted):
    directory = interrupted()
    with directory.locked():
        assert directory.job().idea.id not in Here().known().results


def test_an_interrupted_run_without_an_idea_is_nobodys_try(train):
    job, source = build_job(TrainRequest(preset="m5-tiny", dataset="words"))
    RunDirectory.of(job.run_id).create(job, source)
    assert None not in Here().known().results
