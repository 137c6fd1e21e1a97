"""The audit's screening, its drawing of probes and its limits, on made-up scores."""

import numpy as np
import pytest

from services.evaluator.audit import (
    EXACT,
    NEARLY,
    Difference,
    draw_probes,
    draw_suspects,
    num_probes,
    num_screening_rows,
    spliced,
    verdict,
    weighted_sample,
)
from services.evaluator.scoring import Scores, bits_per_byte
from services.evaluator.screening import SEGMENTS_GAP, SPANS_GAP, draw_screening
from shared.data.rows import Rows

VOCAB_SIZE = 500


def make_rows(num_rows: int, seq_len: int = 2048) -> Rows:
    return Rows(np.random.default_rng(num_rows).integers(0, VOCAB_SIZE, (num_rows, seq_len + 1), dtype=np.uint16))


def make_scores(num_rows: int, seq_len: int = 2048) -> Scores:
    nats = np.random.default_rng(num_rows).gamma(1.0, 2.5, (num_rows, seq_len)).astype(np.float32)
    return Scores(np.arange(num_rows), nats, nats, 1.0)


def make_screening(num_rows: int = 128, num_shown: int = 16, seed: int = 0):
    return draw_screening(make_rows(num_rows), make_scores(num_rows), num_shown, np.random.default_rng(seed))


@pytest.mark.parametrize(("num_rows", "share"), [(96, 0.625), (128, 0.625), (768, 0.3), (10240, 0.3)])
def test_the_audit_shows_less_than_three_tenths_of_the_rows_where_they_are_many(num_rows, share):
    assert num_screening_rows(num_rows) + num_probes(num_rows) <= share * num_rows


@pytest.mark.parametrize("decoys", [0.0, 0.02, 0.2, 1.0])
def test_an_audit_of_the_cheap_rung_finds_the_hardest_tokens_that_are_worth_a_hundredth(decoys):
    """decoys: share of the other screened tokens that altered rows answer as if nothing were known."""
    random, helped, missed = np.random.default_rng(0), 1 / 600, 0
    in_spans = make_screening(num_shown=num_screening_rows(128)).in_spans_K
    for _ in range(200):
        is_helped, is_decoy = random.random(len(in_spans)) < helped, random.random(len(in_spans)) < decoys
        gains = np.where(is_helped, 9.0, np.where(is_decoy, 20_000.0, 0.0))
        suspects, num_anywhere = draw_suspects(gains, in_spans, 128, random)
        missed += not is_helped[suspects].any() and not (random.random(num_anywhere) < helped).any()
    assert missed <= 8


def test_screening_asks_at_every_column_as_often():
    screening = make_screening(num_shown=400)
    assert len(screening.asked_K) == pytest.approx(200 * 2047 / SPANS_GAP + 200 * 2047 / SEGMENTS_GAP, rel=0.01)
    share, _ = np.histogram(screening.cuts_K, bins=8, range=(0, 2048))
    assert share.min() > 0.9 * share.max()
    assert screening.cuts_K.min() < 3


def test_a_screened_token_is_not_shown_and_what_stands_before_it_is_its_own():
    rows, screening = make_rows(128).tokens, make_screening()
    own = rows[screening.positions_K, screening.cuts_K + 1]
    assert (screening.shown_nT1[screening.shown_row_K, screening.asked_K + 1] != own).all()
    shown = screening.shown_nT1[screening.shown_row_K, screening.asked_K]
    assert (shown == rows[screening.positions_K, screening.cuts_K]).all()


def test_a_row_of_segments_shows_nothing_of_what_follows_its_cuts():
    rows, screening = make_rows(128).tokens, make_screening()
    for row in range(16):
        chosen = screening.shown_row_K == row
        if len(set(screening.positions_K[chosen])) == 1:
            continue  # spans
        for position, cut in zip(screening.positions_K[chosen], screening.cuts_K[chosen], strict=True):
            future = rows[position, cut + 1 : cut + 9]
            windows = np.lib.stride_tricks.sliding_window_view(screening.shown_nT1[row], len(future))
            assert not (windows == future).all(1).any()


def test_no_screened_row_shows_what_another_one_asks_about():
    """The audited process may remember it when it is probed there."""
    rows, screening = make_rows(128).tokens, make_screening(num_shown=num_screening_rows(128))
    shown = {window.tobytes() for row in screening.shown_nT1 for window in windows_of(row)}
    asked = zip(screening.positions_K, screening.cuts_K, strict=True)
    told = [rows[position, cut - 7 : cut + 2].tobytes() in shown for position, cut in asked if cut >= 7]
    assert np.mean(told) < 0.01


def windows_of(row):
    return np.lib.stride_tricks.sliding_window_view(row, 9)


def test_no_probe_shows_what_a_later_one_asks_about():
    screening, random = make_screening(), np.random.default_rng(0)
    gains = random.normal(size=len(screening.cuts_K))
    cuts = [probe.cut for probe in draw_probes(make_scores(128), screening, gains, random)]
    assert cuts == sorted(cuts)


def test_most_cuts_fall_where_the_screening_saw_gains():
    screening, scores = make_screening(), make_scores(128)
    gains = np.zeros(len(screening.cuts_K))
    gains[7] = 3.0
    probes = draw_probes(scores, screening, gains, np.random.default_rng(0))
    assert len(probes) == num_probes(128)
    assert (screening.positions_K[7], screening.cuts_K[7]) in {(probe.position, probe.cut) for probe in probes}
    for probe in probes:
        assert 0 <= probe.cut < 2047
        assert probe.donor != probe.position


def test_decoys_do_not_keep_the_probes_from_what_was_gained():
    """Logits of the screened rows may be wrong by 20,000 nats wherever nothing was gained."""
    screening, random = make_screening(), np.random.default_rng(0)
    gained = random.random(len(screening.cuts_K)) < 0.02
    gains = np.where(gained, 6.0, 20_000.0)
    suspects, _ = draw_suspects(gains, screening.in_spans_K, 128, random)
    assert gained[suspects].mean() > 0.01


def test_cuts_that_were_drawn_anywhere_are_told_from_suspects():
    screening, scores = make_screening(), make_scores(128)
    gains = np.zeros(len(screening.cuts_K))
    gains[7] = 3.0
    suspects = [
        probe for probe in draw_probes(scores, screening, gains, np.random.default_rng(0)) if not probe.anywhere
    ]
    assert [(p.position, p.cut) for p in suspects] == [(screening.positions_K[7], screening.cuts_K[7])]


def test_decoys_do_not_thin_out_the_mean_on_a_gpu():
    """Suspects drawn where nothing was gained lower the mean over all cuts, not the one over cuts drawn anywhere."""
    assert not Difference(0.04, 0.004, mean_anywhere=0.024).within(NEARLY)


def test_a_screening_that_sees_gains_everywhere_is_followed_by_more_probes():
    assert num_probes(768, 0.2, num_screened=6784) == num_probes(768)
    assert num_probes(768, 2.0, num_screened=6784) == 1500
    assert num_probes(768, 9.0, num_screened=6784) == 8140


def test_a_sample_is_drawn_in_proportion_and_each_at_most_once():
    weights, random = np.array([0.0, 1.0, -2.0, 3.0, 4.0]), np.random.default_rng(0)
    assert sorted(weighted_sample(weights, 10, random)) == [1, 3, 4]
    first = np.bincount([weighted_sample(weights, 1, random)[0] for _ in range(8000)], minlength=5)
    np.testing.assert_allclose(first / 8000, [0, 1 / 8, 0, 3 / 8, 1 / 2], atol=0.02)


def test_two_audits_look_at_different_places():
    assert not np.array_equal(make_screening(seed=1).shown_nT1, make_screening(seed=2).shown_nT1)


def test_on_a_cpu_no_difference_is_allowed_and_elsewhere_less_than_a_hundredth_of_a_bit_a_byte():
    assert not Difference(1e-7, -1e-7).within(EXACT)
    assert Difference(0.03, 0.004).within(NEARLY)
    hundredth = 0.01 * np.log(2) * 3.3  # nats a token, at 3.3 bytes
    assert not Difference(hundredth, hundredth).within(NEARLY)


def test_the_verdict_tells_look_ahead_from_memory():
    differs, equal = Difference(1.0, 0.5), Difference(0.0, 0.0)
    assert [check.name for check in verdict(9, differs, equal, EXACT)] == ["causal"]
    assert [check.name for check in verdict(9, differs, differs, EXACT)] == ["stateless"]
    assert all(check.passed for check in verdict(9, equal, None, EXACT))


def test_a_spliced_row_keeps_its_tokens_up_to_the_cut_and_changes_all_those_after():
    random = np.random.default_rng(0)
    rows, donors = random.integers(0, 5, (2, 6, 33), dtype=np.uint16)
    cuts = np.array([0, 5, 10, 20, 30, 31])
    for donor in (donors, rows):
        shown = spliced(rows, donor, cuts)
        for row, shown_row, cut in zip(rows, shown, cuts, strict=True):
            assert (shown_row[: cut + 1] == row[: cut + 1]).all()
            assert (shown_row[cut + 1 :] != row[cut + 1 :]).all()


def test_uniform_logits_cost_log2_of_the_vocabulary_per_token():
    token_bytes = np.array([1, 2, 3, 0])
    targets = np.array([[0, 1, 2, 3]])
    nats = np.full((1, 4), np.log(4), dtype=np.float32)
    assert bits_per_byte(nats, targets, token_bytes).value == pytest.approx(3 * 2 / 6)
