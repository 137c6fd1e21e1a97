"""The notebook runs, cell after cell, on what `autoresearch runs --json` exports."""

import json

import matplotlib
import pytest

from shared.contracts import Status, Unranked
from shared.runs.listing import list_runs
from shared.settings import CHECKOUT
from tests.shared.tracking.finished_runs import make_result, make_run

NOTEBOOK = CHECKOUT / "notebooks" / "analysis.ipynb"


@pytest.fixture
def run_notebook(tmp_path, monkeypatch, capsys):
    """Executes its cells in the folder that has the export. Gives what they print, and their names."""
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()

    def run() -> tuple[str, dict]:
        exported = "".join(json.dumps(entry.to_dict()) + "\n" for entry in list_runs(root=tmp_path / "runs"))
        (tmp_path / "results" / "runs.jsonl").write_text(exported)
        names: dict = {}
        for cell in json.loads(NOTEBOOK.read_text())["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), names)
        matplotlib.pyplot.close("all")
        return capsys.readouterr().out, names

    return run


def test_it_compares_ranked_runs_by_the_mean_of_their_seeds(run_notebook, tmp_path):
    for number, value in enumerate((1.50, 1.52, 1.54)):
        make_run(tmp_path / "runs", make_result(f"r{number}", value, seed=number))
    make_run(tmp_path / "runs", make_result("bad", None, Status.DIVERGED, "loss 131.2 above 100"))
    demo = {"ranked": False, "unranked": (Unranked.DEMO_CORPUS,)}
    make_run(tmp_path / "runs", make_result("demo", 1.0).model_copy(update=demo))
    said, names = run_notebook()
    assert "5 runs, 5 finished, 3 ranked" in said
    assert "1.520000 +- 0.0115  n=3" in said
    assert "demo_corpus" in said
    assert len(names["groups"]) == 1


def test_it_runs_where_nothing_was_run_yet(run_notebook):
    said, names = run_notebook()
    assert "0 runs, 0 finished, 0 ranked" in said
    assert names["groups"] == {}


def test_it_is_committed_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
