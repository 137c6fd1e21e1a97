"""Adversarial recipes on the real system: none may gain more than 0.01 bpb in a ranked run, nor outlive it, nor stain
its record. The few without a marker run in `make test`, all of them in `make test-cheats`."""

import ast

import pytest

from tests.cheats.harness import FAIR, UNMENDED, Case, cases

ALL, UNUSUAL = cases(), cases(FAIR)
FEW = ("arithmetic/all_equal_and_huge", "lookahead/hardest_two_percent", "clock/trains_after_trained")
FEW_UNUSUAL = ("unusual/arrays_of_no_dimension",)


def chosen(collection: list[Case], few: tuple[str, ...]) -> list:
    marks = {True: (), False: (pytest.mark.cheats,)}
    return [pytest.param(case, id=case.name, marks=marks[case.name in few]) for case in collection]


@pytest.mark.parametrize("case", chosen(ALL, FEW))
def test_a_cheat_gains_nothing(case, shooting_range, table):
    honest = shooting_range.honest(case)
    outcome = shooting_range.try_out(case)
    table.append(outcome.row(honest))
    assert not outcome.got_through(honest), outcome.row(honest)


@pytest.mark.parametrize("case", chosen(UNUSUAL, FEW_UNUSUAL))
def test_an_honest_recipe_that_is_unusual_gets_its_number(case, shooting_range, table):
    outcome = shooting_range.try_out(case)
    table.append(outcome.row(outcome.val_bpb or 0.0))
    expected = ("ok", case.orders.get("RANKED", True), ())
    assert (outcome.status, outcome.ranked, outcome.stains) == expected, outcome.reason


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (*ALL, *UNUSUAL, *cases(UNMENDED))])
def test_every_recipe_is_one_file_that_says_what_it_tries(case):
    tree = ast.parse(case.path.read_text())
    assert ast.get_docstring(tree), f"{case.path} does not say what it tries"
    source = Case(case.path, {}).source()
    assert b"from tests" not in source
    assert any(getattr(node, "name", None) == "build" for node in ast.parse(source).body)
    assert len(source) < 256 * 1024
