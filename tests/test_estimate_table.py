"""The tables of docs/performance.md are made of the rows in benchmarks/estimates.jsonl, and a row knows when it is
stale."""

import pytest

from benchmarks import estimate_rows, estimate_table, estimate_tables
from benchmarks.estimate_rows import OURS, TRITON, TRITON_KERNELS, UPSTREAM, Case, made_of, read_rows, write_rows
from benchmarks.estimate_table import PAGE, Sources, compute, loops, stale_lines
from kernels import catalog
from shared.experiment.presets import PRESETS

BALANCED = Case("gb10", "m5-balanced", OURS)


@pytest.fixture
def sources(tmp_path):
    return Sources(upstream=None, port=None, folder=tmp_path)


def fresh(case: Case, sources: Sources):
    """A row as it would be if it had been computed just now."""
    row = next(iter(read_rows().values()))
    changes = {name: getattr(case, name) for name in ("target", "preset", "loop")}
    return row.model_copy(update={**changes, "made_of": made_of(case, sources.foreign(case))})


def test_the_page_shows_what_the_rows_say():
    page = PAGE.read_text(encoding="utf-8")
    assert estimate_tables.refreshed(page, read_rows()) == page, "run make estimate"


def test_the_goals_of_the_kernel_lab_have_a_row_each():
    rows = read_rows()
    for case in estimate_tables.GOALS:
        assert all(Case(case.target, case.preset, loop) in rows for loop in (UPSTREAM, OURS, TRITON)), case


def test_every_architecture_has_a_row_whose_kernels_were_compiled():
    compiled = {row.architecture for row in read_rows().values() if row.compiled and not row.failed}
    assert {"sm_80", "sm_90", "sm_100", "sm_120", "sm_121"} <= compiled


def test_the_kernels_that_are_estimated_are_kernels_of_this_checkout():
    for op, kernel in TRITON_KERNELS.items():
        assert catalog.solution(op, kernel)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_steps_are_upstreams_ours_and_ours_with_kernels(preset):
    assert [case.loop for case in loops("gb10", preset)] == [UPSTREAM, OURS, TRITON]
    assert [case.loop for case in loops("mac", preset)] == [UPSTREAM, OURS]


def test_a_row_is_stale_when_what_it_was_made_of_changed_and_says_what(sources, monkeypatch):
    rows = {BALANCED: fresh(BALANCED, sources)}
    assert stale_lines([BALANCED], rows, sources) == ["All 1 rows are as they would be computed now."]
    monkeypatch.setitem(estimate_rows.SOURCES, "kernels", "kernels/choose.py")
    assert stale_lines([BALANCED], rows, sources)[1] == "- gb10 m5-balanced, ours: kernels changed"


def test_how_kernels_are_judged_makes_no_estimate_stale():
    assert {"correctness.py", "wrong", "definition.py"} <= set(estimate_rows.NOT_COUNTED)


def test_a_missing_row_is_named_and_other_peoples_loops_are_kept_without_their_source(sources):
    theirs = Case("gb10", "m5-balanced", UPSTREAM)
    lines = stale_lines([theirs, BALANCED], {theirs: fresh(theirs, sources)}, sources)
    assert lines[0] == "1 of 2 rows are stale or missing; make estimate computes them:"
    assert lines[1] == "- gb10 m5-balanced, ours: it was never computed"
    assert lines[2].startswith("1 rows of other people's loops were kept")


def test_rows_are_kept_one_by_one_and_none_is_begun_when_the_time_is_over(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate_table, "STORE", tmp_path / "rows.jsonl")
    monkeypatch.setattr(estimate_table, "estimated", fresh)
    rows = {}
    compute(loops("gb10", "m5-tiny"), rows, sources, minutes=0.0, workers=1)
    assert rows == {}
    compute(loops("gb10", "m5-tiny"), rows, sources, minutes=60.0, workers=2)
    assert read_rows(tmp_path / "rows.jsonl") == rows
    assert len(rows) == 3


def test_a_row_comes_back_from_its_file_as_it_was(tmp_path):
    rows = read_rows()
    write_rows(rows, tmp_path / "rows.jsonl")
    assert read_rows(tmp_path / "rows.jsonl") == rows


def test_a_page_without_a_place_for_a_table_is_named():
    with pytest.raises(ValueError, match="needs one place for 'steps'"):
        estimate_tables.refreshed("# A page\n", read_rows())
