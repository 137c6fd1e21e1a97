"""The audit's drawing of probes and its sharpness, on made-up scores."""

import numpy as np
import pytest

from services.evaluator.audit import draw_probes, spliced
from services.evaluator.scoring import Scores, bits_per_byte


def make_scores(num_rows: int, seq_len: int = 2048, cheated_share: float = 0.0) -> tuple[Scores, np.ndarray]:
    """Cross-entropies as a real model's, a tenth of them small; cheated ones are zero. Returns them with the mask."""
    random = np.random.default_rng(num_rows)
    nats = random.gamma(1.0, 2.5, (num_rows, seq_len)).astype(np.float32)
    cheated = random.random(nats.shape) < cheated_share
    nats[cheated] = 0
    return Scores(np.arange(num_rows), nats, nats, 1.0), cheated


@pytest.mark.parametrize(("num_rows", "count"), [(4, 16), (128, 32), (768, 192), (10240, 512)])
def test_a_quarter_of_the_rows_is_audited_within_bounds(num_rows, count):
    probes = draw_probes(make_scores(num_rows, seq_len=64)[0])
    assert len(probes) == count


def test_probes_stay_inside_the_row_and_take_another_row_as_donor():
    for probe in draw_probes(make_scores(128, seq_len=64)[0]):
        assert 0 <= probe.position < 128
        assert 0 <= probe.cut < 63
        assert probe.donor != probe.position


def test_two_audits_look_at_different_places():
    scores, _ = make_scores(128)
    assert draw_probes(scores) != draw_probes(scores)


def test_a_look_ahead_at_one_token_in_a_hundred_is_hit_on_the_cheap_rung():
    """Over 50 audits the cut falls on a cheated token in nearly all; docs/evaluation.md has the formula."""
    scores, cheated = make_scores(128, cheated_share=0.01)
    caught = sum(any(cheated[probe.position, probe.cut] for probe in draw_probes(scores)) for _ in range(50))
    assert caught >= 48


def test_a_spliced_row_keeps_its_tokens_up_to_the_cut_and_changes_those_after():
    random = np.random.default_rng(0)
    rows, donors = random.integers(0, 8192, (2, 6, 33), dtype=np.uint16)
    cuts = np.array([0, 5, 10, 20, 30, 31])
    shown = spliced(rows, donors, cuts)
    for row, shown_row, cut in zip(rows, shown, cuts, strict=True):
        assert (shown_row[: cut + 1] == row[: cut + 1]).all()
        assert (shown_row[cut + 1 :] != row[cut + 1 :]).mean() > 0.9


def test_uniform_logits_cost_log2_of_the_vocabulary_per_token():
    token_bytes = np.array([1, 2, 3, 0])
    targets = np.array([[0, 1, 2, 3]])
    nats = np.full((1, 4), np.log(4), dtype=np.float32)
    assert bits_per_byte(nats, targets, token_bytes).value == pytest.approx(3 * 2 / 6)
