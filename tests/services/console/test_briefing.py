"""What `brief` says is to be done next, from records alone."""

import pytest

from services.console import briefing, verdicts
from services.console.research import Fleet, Here
from shared.research.book import Trial
from shared.research.history import Row
from shared.research.idea import propose
from shared.research.known import Known
from tests import ideas
from tests.ideas import RECIPE
from tests.shared.research.makers import KEY, START, idea, known, result, results
from tests.start_runs import measured_start


def test_brief_goes_on_with_a_start_whose_runs_did_not_count():
    """Submitting it again is refused."""
    start = propose(RECIPE.encode())
    said = briefing._next("train", [Row(start, None, "no run counts")], None, None)
    assert said == [f"autoresearch decide {start.id} --wait"]
    assert "baseline" in briefing._next("train", [Row(start, None, "not run")], None, None)[0]


def test_a_start_that_waits_or_runs_is_waited_for_and_not_submitted_again():
    start = propose(RECIPE.encode())
    waiting = [{"job": f"{start.id}-123456-0", "state": "running", "what": "training 40%"}]
    found = [Row(start, None, "not run")]
    assert briefing._next("train", found, None, None, waiting) == [f"autoresearch wait {start.id}-123456-0"]
    there = Known({start.id: start}, {}, {}, {})
    assert briefing.why_no_best(there, waiting) == f"the start {start.id} has not ended: training 40%"


def test_the_next_idea_goes_where_the_last_one_went_and_is_given_its_time():
    start = propose(RECIPE.encode())
    sent = Trial(idea=start.id, target="gb10", asked={"time_budget": 20.0})
    there = Known({start.id: start}, {start.id: [sent]}, {}, {})
    assert briefing._run_command(Fleet(), there, None, by_queue=True) == "submit --target gb10 --wait --time-budget 20"
    assert briefing._run_command(Here(), there, None, by_queue=False) == "train --time-budget 20"


def test_the_next_idea_goes_to_the_machine_that_is_asked_about_also_when_another_was_given_one_since():
    later = idea("for_another_machine = 1")
    there = known((START, results(START, 2.0)), (later, [result(later, 0, hardware_key="gb10-test", target="gb10")]))
    said = briefing._run_command(Fleet(), there, KEY, by_queue=True)
    assert said == "submit --target cpu --wait --time-budget 300"


@pytest.mark.parametrize(
    ("served", "target"), [(["gb10"], "gb10"), (["gb10", "cpu"], "cpu"), (["gb10", "h100"], "gb10"), ([], "cpu")]
)
def test_the_first_idea_goes_where_a_worker_is(monkeypatch, served, target):
    monkeypatch.setattr(briefing, "_served", lambda: served)
    monkeypatch.setattr(briefing, "_target_here", lambda: "cpu")
    said = briefing._run_command(Fleet(), Known({}, {}, {}, {}), None, by_queue=True)
    assert said == f"submit --target {target} --wait --time-budget 300"


def test_brief_and_decide_say_one_number_of_what_is_resolved(workplace, monkeypatch, tmp_path):
    ideas.alone(monkeypatch, tmp_path)
    start = measured_start()
    of_the_best, of_the_start = briefing.state(Here(), None, 5).resolves, verdicts.look(Here(), start, None)
    assert of_the_best == verdicts.as_json(of_the_start)["resolves"] == of_the_start.resolves
    assert set(of_the_best) == {"1", "2", "4"}


OF_A_START, OF_A_KEEP = "the shipped recipe three times", "more runs of the best"


@pytest.mark.parametrize(("best", "says"), [(START, OF_A_START), (idea(), OF_A_KEEP)])
def test_where_no_noise_is_known_brief_says_of_what_it_is_missing(capsys, best, says):
    unknown = {"noise": None, "resolves": {}, "counts": {}, "last": [], "waiting": [], "next": []}
    briefing.show(briefing.State(where="this machine", key=KEY, best=(best, 1.9), **unknown))
    assert says in capsys.readouterr().out
