"""What `brief` says of what is known, from records alone."""

import pytest

from services.console import briefing, verdicts
from services.console.research import Here
from tests import ideas
from tests.shared.research.makers import KEY, START, idea
from tests.start_runs import measured_start


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
