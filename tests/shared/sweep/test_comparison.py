"""Which runs of a sweep are held against its base."""

import pytest

from shared.sweep.comparison import unlike
from shared.sweep.folder import Begun, Run
from shared.sweep.night import Finished, judged
from shared.sweep.plan import Point
from tests.shared.research import makers
from tests.shared.research.makers import SHAPE, START, idea

POINT = idea("x = 1")


def end(number, of, *values, before=(), point=None, **changes):
    point = point or Point()
    results = [makers.result(of, index, value, **changes) for index, value in enumerate(values)]
    runs = tuple(Run(run_id=one.run_id, seed=one.seed) for one in results)
    begun = Begun(number=number, point=point, recipe_sha=of.recipe_sha, runs=runs, idea=of.ref)
    return judged(begun, [Finished(one.run_id, one) for one in results], before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "e" * 64}, "dataset eeee"),
        ({"hardware_key": "h200"}, "machine h200 instead of cpu-test"),
        ({"eval_signature": "z"}, "evaluation z instead of e"),
        ({"engine": "mlx"}, "engine mlx instead of torch"),
        ({"shape": SHAPE.model_copy(update={"depth": 12}), "depth": 12}, "depth 12 instead of 2"),
    ],
    ids=["dataset", "machine", "evaluation", "engine", "shape"],
)
def test_a_better_run_on_other_terms_than_the_bases_is_not_kept(changes, said):
    base = end(0, START, 2.0)
    found = end(1, POINT, 1.5, before=[base], **changes)
    assert (base.verdict, found.verdict, found.val_bpb) == ("keep", "unranked", None)
    assert said in found.reason
    assert "do not compare with the base" in found.reason


def test_a_point_may_have_the_shape_that_it_sets_and_no_other():
    base = end(0, START, 2.0)
    deep = SHAPE.model_copy(update={"depth": 12})
    point = Point(set={"depth": "12"})
    assert end(1, POINT, 1.5, before=[base], point=point, shape=deep, depth=12).verdict == "keep"
    wide = deep.model_copy(update={"device_batch_size": 2 * SHAPE.device_batch_size})
    other = end(1, POINT, 1.5, before=[base], point=point, shape=wide, depth=12)
    assert (other.verdict, "device_batch_size" in other.reason, "depth 12" in other.reason) == ("unranked", True, False)


def test_the_rows_of_a_pass_may_follow_a_step_that_the_point_sets():
    base = end(0, START, 2.0)
    sizes = {"total_batch_size": SHAPE.seq_len, "device_batch_size": 1}
    assert sizes["device_batch_size"] != SHAPE.device_batch_size
    shape, point = SHAPE.model_copy(update=sizes), Point(set={"total_batch_size": str(SHAPE.seq_len)})
    assert end(1, POINT, 1.5, before=[base], point=point, shape=shape).verdict == "keep"


def test_runs_of_a_base_on_two_machines_are_no_base():
    results = [makers.result(START, 0, 2.0), makers.result(START, 1, 1.0, hardware_key="h200")]
    assert "with each other: machine h200" in unlike(Point(), results, ())


def test_equal_terms_compare():
    base = end(0, START, 2.0)
    better, worse = end(1, POINT, 1.5, before=[base]), end(1, POINT, 2.5, before=[base])
    assert (better.verdict, worse.verdict, better.reason) == ("keep", "discard", "")
