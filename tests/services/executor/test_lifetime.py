"""How long an executor lives, so that Docker starts the next one soon."""

from services.executor.lifetime import LONG_ENOUGH_S, MOST_SHORT_LIVES, rest_s


def dockers_waits(lives: list[float]) -> list[float]:
    """Seconds before each start: doubled from 0.1 up to a minute, and forgotten after a life of ten seconds."""
    waits, wait = [], 0.05
    for lived_s in lives:
        wait = 0.1 if lived_s >= 10 else min(60.0, 2 * wait)
        waits.append(wait)
    return waits


def test_a_hundred_short_stages_never_meet_a_long_wait(tmp_path):
    stages_s = [0.5] * 100
    lives = [stage_s + rest_s(tmp_path, stage_s) for stage_s in stages_s]
    assert max(dockers_waits(stages_s)) == 60
    assert max(dockers_waits(lives)) <= 1.6
    lost_s = sum(dockers_waits(lives)) + sum(lives) - sum(stages_s)
    assert lost_s < 0.2 * sum(dockers_waits(stages_s))


def test_a_few_short_stages_end_at_once_and_long_ones_always(tmp_path):
    assert [rest_s(tmp_path, 1.0) for _ in range(MOST_SHORT_LIVES)] == [0.0] * MOST_SHORT_LIVES
    assert rest_s(tmp_path, 1.0) == LONG_ENOUGH_S - 1.0
    assert rest_s(tmp_path, 1.0) == 0.0
    assert rest_s(tmp_path, 300.0) == 0.0


def test_a_counter_that_cannot_be_read_counts_nothing(tmp_path):
    (tmp_path / ".short-lives").write_text("nonsense")
    assert rest_s(tmp_path, 1.0) == 0.0
