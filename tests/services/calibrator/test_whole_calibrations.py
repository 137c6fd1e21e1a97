"""The benchmark of whole calibrations: what it says of a machine is the machine's, and the same every time."""

import numpy as np

from benchmarks.simulated_machines import RowsChosen
from benchmarks.whole_calibrations import judged
from shared.contracts import Rung
from shared.experiment.presets import PRESETS


def test_a_machine_is_calibrated_within_its_minutes_and_the_result_says_how_good_the_choice_is():
    result = judged("laptop", 3, "fast", 10.0)
    assert result["seconds"] <= 600
    assert result["confidence"] in ("low", "medium", "high")
    assert set(result["regret"]) == {"search", "confirm", "end"}
    assert min(result["regret"].values()) >= 0
    assert set(result["presets"]) == set(PRESETS) - {"upstream"}


def test_the_same_machine_comes_to_the_same():
    assert judged("small-board", 1, "fast", 10.0) == judged("small-board", 1, "fast", 10.0)


def test_fewer_rows_say_more_of_what_cheap_does_not_and_the_same_of_a_shape_every_time():
    shape = PRESETS["m5-small"].shape
    worlds = [RowsChosen(seed) for seed in range(200)]
    apart = {rung: np.std([one.otherwise(rung, shape, 10**6) for one in worlds]) for rung in Rung}
    assert apart[Rung.CHEAP] == 0
    assert apart[Rung.SMOKE] > 3 * apart[Rung.PROBE] > 0
    assert worlds[0].otherwise(Rung.SMOKE, shape, 10**6) == RowsChosen(0).otherwise(Rung.SMOKE, shape, 10**6)
