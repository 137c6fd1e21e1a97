"""What is to be done next, and why, from records alone."""

import pytest

from services.console import briefing, next_steps
from services.console.next_steps import Step, calibrate_command, run_command, steps
from services.console.research import Fleet, Here
from shared.contracts import Status, Unranked, VoidCause
from shared.research.book import Trial, Undecided
from shared.research.comparable import MOST_AGAIN
from shared.research.history import Row, rows
from shared.research.idea import propose
from shared.research.judge import judge
from shared.research.known import Known
from shared.research.noise import Noise
from tests.ideas import RECIPE
from tests.shared.research.makers import KEY, START, idea, known, result, results

NOTHING = Known({}, {}, {}, {})
ONE = idea("x = 3")
SENT = Trial(idea=ONE.id, target="cpu", asked={})
LATE = {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0}
BUSY = {"unranked": (Unranked.BUSY_MACHINE,)}
DECIDE = f"autoresearch decide {ONE.id} --wait"


def test_brief_goes_on_with_a_start_whose_runs_did_not_count():
    """Submitting it again is refused."""
    start = propose(RECIPE.encode())
    (step,) = steps(NOTHING, "train", [Row(start, None, "no run counts", reason="over_budget: 1 s")], None, None)
    assert step.command == f"autoresearch decide {start.id} --wait"
    assert "no run of the start counts (over_budget: 1 s)" in step.why
    assert "baseline" in steps(NOTHING, "train", [Row(start, None, "not run")], None, None)[0].command


def test_where_the_noise_is_that_of_shorter_runs_measuring_it_comes_before_the_next_idea():
    """By a sigma ten times too large every gain but the first was lost in an agent's hour."""
    commands = [
        [step.command for step in steps(NOTHING, "train", [Row(START, None, "start")], noise, (START, 2.0))]
        for noise in (Noise(0.03, 3, "seeds of 18 s", is_of_shorter=True), Noise(0.003, 3, "runs of the start"))
    ]
    assert [each.index(f"autoresearch decide {START.id} --wait") for each in commands] == [0, 2]


def test_a_start_that_waits_or_runs_is_waited_for_and_not_submitted_again():
    start = propose(RECIPE.encode())
    waiting = [{"job": f"{start.id}-123456-0", "state": "running", "what": "training 40%"}]
    found = [Row(start, None, "not run")]
    (step,) = steps(NOTHING, "train", found, None, None, waiting)
    assert step.command == f"autoresearch wait {start.id}-123456-0"
    there = Known({start.id: start}, {}, {}, {})
    assert briefing.why_no_best(there, waiting) == f"the start {start.id} has not ended: training 40%"


def test_the_next_idea_goes_where_the_last_one_went_and_is_given_its_time():
    start = propose(RECIPE.encode())
    sent = Trial(idea=start.id, target="gb10", asked={"time_budget": 20.0})
    there = Known({start.id: start}, {start.id: [sent]}, {}, {})
    assert run_command(Fleet(), there, None, by_queue=True) == "submit --target gb10 --wait --time-budget 20"
    assert run_command(Here(), there, None, by_queue=False) == "train --time-budget 20"


def test_the_next_idea_goes_to_the_machine_that_is_asked_about_also_when_another_was_given_one_since():
    later = idea("for_another_machine = 1")
    there = known((START, results(START, 2.0)), (later, [result(later, 0, hardware_key="gb10-test", target="gb10")]))
    said = run_command(Fleet(), there, KEY, by_queue=True)
    assert said == "submit --target cpu --wait --time-budget 300"


@pytest.mark.parametrize(
    ("served", "target"), [(["gb10"], "gb10"), (["gb10", "cpu"], "cpu"), (["gb10", "h100"], "gb10"), ([], "cpu")]
)
def test_the_first_idea_goes_where_a_worker_is(monkeypatch, served, target):
    monkeypatch.setattr(next_steps, "_served", lambda: served)
    monkeypatch.setattr(next_steps, "_target_here", lambda: "cpu")
    said = run_command(Fleet(), Known({}, {}, {}, {}), None, by_queue=True)
    assert said == f"submit --target {target} --wait --time-budget 300"


def about(*runs, entries=(), waiting=()) -> list[Step]:
    """What is to be done about an idea with these runs, where there is a best."""
    state = known((START, results(START, 2.0)), (ONE, list(runs)), rulings=[SENT, *entries])
    found = steps(state, "train", rows(state), None, (START, 2.0), waiting)
    return [step for step in found if ONE.id in step.command]


def test_an_idea_that_nobody_had_judged_is_to_be_decided_and_the_reason_says_so():
    assert about(result(ONE, 0, 1.9)) == [Step(DECIDE, "'x = 3' was run, and nobody has asked for its verdict")]


def test_an_idea_that_was_judged_in_vain_is_named_with_what_was_said_of_it():
    said = Undecided(idea=ONE.id, key=KEY, reason="z 1.5 lies between", made_at="2026-01-01T00:00:00Z")
    assert about(result(ONE, 0, 1.9), entries=[said]) == [Step(DECIDE, "'x = 3' is undecided: z 1.5 lies between")]


@pytest.mark.parametrize("changes", [LATE, BUSY, {"status": Status.CRASHED, "void": VoidCause.HOST_SLEPT}])
def test_an_idea_whose_run_did_not_count_by_chance_is_to_be_run_again(changes):
    (step,) = about(result(ONE, 0, None if "void" in changes else 1.9, **changes))
    assert step.command == DECIDE
    assert "has no run that counts (" in step.why
    assert "this makes it again" in step.why


def test_an_idea_that_would_not_count_another_time_either_is_not_to_be_run_again():
    demo = result(ONE, 0, 1.9, unranked=(Unranked.DEMO_CORPUS,))
    withdrawn = result(ONE, 0, None, status=Status.CANCELLED)
    too_often = [result(ONE, 0, 1.9, run_id=f"late-{number}", **LATE) for number in range(MOST_AGAIN)]
    assert about(demo) == about(withdrawn) == about(*too_often) == []


def test_an_idea_whose_run_is_being_made_again_is_left_alone():
    waiting = [{"job": f"{ONE.id}-123456-0-r1", "state": "running", "what": "training 40%"}]
    assert about(result(ONE, 0, 1.9, **LATE), waiting=waiting) == []


def test_every_step_has_a_reason_and_brief_shows_it(capsys):
    state = known((START, results(START, 2.0)), (ONE, results(ONE, 1.9)), rulings=[SENT])
    found = steps(state, "train", rows(state), None, (START, 2.0))
    assert all(step.why for step in found)
    assert f"autoresearch decide {START.id} --wait" == found[-1].command
    assert "the noise is not known" in found[-1].why
    unknown = {"noise": None, "resolves": {}, "counts": {}, "last": [], "waiting": []}
    there = briefing.State(where="this machine", key=KEY, best=(START, 2.0), next=found, **unknown)
    assert there.as_json()["why_next"] == {step.command: step.why for step in found}
    assert there.as_json()["next"] == [step.command for step in found]
    briefing.show(there)
    assert f"next      {DECIDE}\n          {found[0].why}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("by_queue", "command"),
    [
        (True, "autoresearch submit --target cpu --calibrate fast --wait"),
        (False, "autoresearch calibrate"),
    ],
)
def test_the_noise_is_measured_where_the_ideas_run(capsys, by_queue, command):
    state = known((START, results(START, 2.0)))
    found = calibrate_command(Fleet(), state, KEY, by_queue=by_queue)
    unknown = {"noise": None, "resolves": {}, "counts": {}, "last": [], "waiting": [], "next": []}
    briefing.show(briefing.State(where="", key=KEY, best=(START, 2.0), calibrate=found, **unknown))
    assert f"`{command}` measures it" in capsys.readouterr().out


def test_decide_advises_to_measure_the_noise_on_the_machines_of_a_hub_that_is_known():
    state = known((START, results(START, 2.0)), (ONE, results(ONE, 1.9)))
    there, here = (judge(state, ONE, KEY, None, by_queue=by_queue).advice for by_queue in (True, False))
    assert "`autoresearch submit --target cpu --calibrate full --wait` measures it" in there
    assert "`autoresearch calibrate --mode full` measures it" in here
    assert "START" not in there + here
