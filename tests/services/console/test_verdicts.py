"""What `decide` advises beside its verdict."""

from dataclasses import replace

import pytest

from services.console import verdicts
from shared.contracts import DatasetRef, Rung, Unranked
from shared.experiment.identity import seed_of
from shared.experiment.platform_default import NoiseFloor
from shared.research.judge import judge
from shared.research.made import made_since
from shared.research.rule import Verdict, resolves
from tests.platform_defaults import calibrated
from tests.shared.research.makers import KEY, SHAPE, START, idea, known, result, results

SLIGHT = idea("slightly_better = 1")


def default(sigma: float, hardware_key: str = KEY.hardware_key, target: str = "cpu"):
    noise = NoiseFloor(
        sigma=sigma, low=sigma / 2, high=sigma * 2, num_seeds=8, budget_seconds=20.0, weak=False, rung=Rung.CHEAP,
        run_ids=(),
    )  # fmt: skip
    return calibrated(
        shape=SHAPE, noise=noise, hardware_key=hardware_key, target=target, eval_signature=KEY.eval_signature,
        dataset=DatasetRef(name="words", fingerprint=KEY.dataset),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("elsewhere", "said"),
    [
        ([], "a target with less noise, if there is one"),
        ([default(0.001, "nvidia-gb10", "gb10")], "gb10"),
    ],
)
def test_a_small_gain_is_sent_to_a_quieter_machine_that_is_not_the_one_it_ran_on(monkeypatch, elsewhere, said):
    """This machine's own default may have been measured on a quieter day."""
    monkeypatch.setattr(verdicts, "all_defaults", lambda: [default(0.001), *elsewhere])
    state = known((START, results(START, 2.0, 2.0, 2.0)), (SLIGHT, results(SLIGHT, 1.9999)))
    judged = judge(state, SLIGHT, KEY, default(0.01))
    assert judged.decision.verdict is Verdict.DISCARD
    assert verdicts.advice(judged) == f"send it to a quieter machine to know more: {said}"


def test_what_was_run_for_a_verdict_is_shown_with_the_reason_why_it_does_not_count(capsys):
    over = result(SLIGHT, 1, 1.9, unranked=(Unranked.OVER_BUDGET,), training_seconds=400.0)
    before = known((START, results(START, 2.0)), (SLIGHT, results(SLIGHT, 1.9999)))
    after = known((START, results(START, 2.0, 2.001)), (SLIGHT, [*results(SLIGHT, 1.9999), over]))
    judged = judge(after, SLIGHT, KEY, default(0.01))
    verdicts.show(replace(judged, made=made_since(before, after, KEY, SLIGHT, START)), json=False)
    shown = capsys.readouterr().out
    assert f"made     {over.run_id} of {SLIGHT.id}, seed {over.seed} on cpu-test: val_bpb 1.900000, does not" in shown
    assert "does not count (over_budget: 400 s, so 100 s over the budget" in shown
    assert "left out" not in shown
    parents = seed_of(START.id, 1)
    assert f"made     {START.id}-1 of {START.id}, seed {parents} on cpu-test: val_bpb 2.001000, counts" in shown


def test_a_run_over_its_budget_that_counts_since_it_is_worse_is_shown_to_count():
    over = result(SLIGHT, 0, 1.95, run_id="over", unranked=(Unranked.OVER_BUDGET,), training_seconds=400.0)
    before, after = (
        known((START, results(START, 2.0)), (SLIGHT, runs)) for runs in ([], [over, *results(SLIGHT, 1.9)])
    )
    first, second = made_since(before, after, KEY, SLIGHT)
    assert first.said.endswith(": val_bpb 1.950000, counts")
    assert "does not count (repeated: " in second.said


def test_what_is_resolved_is_said_also_when_the_verdict_stands_and_is_the_same_then(capsys):
    runs = (START, results(START, 2.0, 2.001, 2.002)), (SLIGHT, results(SLIGHT, 2.1))
    before = judge(known(*runs), SLIGHT, KEY, default(0.01))
    ruled = judge(known(*runs, rulings=[verdicts.ruling_of(before)]), SLIGHT, KEY, default(0.01))
    assert ruled.resolves == before.resolves == resolves(before.noise, 3)
    verdicts.show(before, json=False)
    said = "effect   -0.099000, where more is better: 1 run against 3, whose mean is 2.001000"
    assert said in capsys.readouterr().out
    verdicts.show(ruled, json=False)
    assert f"resolves {before.resolves['1']:.6f} in 1, " in capsys.readouterr().out
