"""What `brief` says is to be done next, from records alone."""

from services.console import briefing
from shared.research.book import Trial
from shared.research.history import Row
from shared.research.idea import propose
from shared.research.known import Known
from tests.ideas import RECIPE


def test_brief_goes_on_with_a_start_whose_runs_did_not_count():
    """Submitting it again is refused."""
    start = propose(RECIPE.encode())
    said = briefing._next(True, [Row(start, None, "no run counts")], None, None)
    assert said == [f"autoresearch decide {start.id} --wait"]
    assert "baseline" in briefing._next(True, [Row(start, None, "not run")], None, None)[0]


def test_a_start_that_waits_or_runs_is_waited_for_and_not_submitted_again():
    start = propose(RECIPE.encode())
    waiting = [{"job": f"{start.id}-123456-0", "state": "running", "what": "training 40%"}]
    found = [Row(start, None, "not run")]
    assert briefing._next(True, found, None, None, waiting) == [f"autoresearch wait {start.id}-123456-0"]
    known = Known({start.id: start}, {}, {}, {})
    assert briefing.why_no_best(known, waiting) == f"the start {start.id} has not ended: training 40%"


def test_the_next_idea_goes_where_the_last_one_went():
    start = propose(RECIPE.encode())
    known = Known({start.id: start}, {start.id: [Trial(idea=start.id, target="gb10", asked={})]}, {}, {})
    assert briefing._target(known) == "gb10"
