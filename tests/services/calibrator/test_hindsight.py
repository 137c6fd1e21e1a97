"""After all runs: what is expected to be better than the chosen shape, and what the report and the confidence say."""

import copy
from dataclasses import replace

import pytest

from services.calibrator.conclusion import how_sure, platform_default
from services.calibrator.findings import Findings
from services.calibrator.hindsight import Hindsight, Rival
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.reconsider import preferred, reconsidered
from services.calibrator.report.markdown import as_markdown
from services.calibrator.report.points import Points
from services.calibrator.report.subject import Subject
from services.calibrator.report.write import build_report
from shared.contracts import Status
from shared.experiment.platform_default import Confidence
from shared.experiment.presets import find_preset
from shared.settings import settings

pytestmark = pytest.mark.usefixtures("workplace")
OTHER = "m5-tiny"


def surprised(reported) -> Findings:
    """The findings as if another model had then run much better than anybody expected, and was not confirmed."""
    found, chosen = copy.copy(reported.found), reported.found.confirm.chosen
    shape, late = find_preset(OTHER).shape, []
    rate = found.envelope.envelope.tok_per_sec(shape, reported.work.flops_per_token(shape))
    for seconds in (75.0, 150.0):
        probe = Probe(preset=OTHER, shape=shape, seconds=seconds, rung=found.prior.rung, tuning=found.tuning)
        steps = int(rate * seconds / shape.total_batch_size)
        late.append(
            Outcome(
                probe=probe,
                status=Status.OK,
                val_bpb=chosen.val_bpb - 0.2 + 3 / seconds,
                num_steps=steps,
                num_tokens=steps * shape.total_batch_size,
                tok_per_sec=rate,
                wall_seconds=seconds + 9,
                run_id=f"late-{seconds:g}",
                framework="torch 2.9",
            )
        )
    found.search = found.search.model_copy(update={"outcomes": (*found.search.outcomes, *late)})
    return found


@pytest.fixture(scope="module")
def second_thoughts(reported, prepared_home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(prepared_home))
        settings.cache_clear()
        found = surprised(reported)
        subject = Subject(reported.folder, reported.work, found, platform_default(reported.work, found))
        report = build_report(subject, Points(subject))
    settings.cache_clear()
    return subject, report


def test_a_shape_that_later_runs_put_ahead_is_named_with_its_interval(second_thoughts):
    subject, report = second_thoughts
    rival = report.candidate.rival
    assert rival is not None
    assert rival.shape != subject.chosen.shape
    assert rival.low < rival.ahead < rival.high
    assert rival.ahead > subject.hindsight.equal
    assert "is expected to be" in subject.default.reason
    assert "95 % interval" in subject.default.reason


def test_what_is_expected_to_be_better_lowers_the_confidence(reported):
    calm, found = copy.copy(reported.found), surprised(reported)
    for one in (calm, found):
        one.search = one.search.model_copy(update={"sure": 0.99})
    assert how_sure(reported.work, calm)[0] is Confidence.HIGH
    assert how_sure(reported.work, found)[0] is Confidence.MEDIUM


def test_a_zone_that_is_expected_to_be_better_says_so_and_is_no_no_difference(second_thoughts):
    subject, report = second_thoughts
    beside = [zone for zone in report.zones if zone.zone in ("lower", "upper") and zone.shape]
    better = [zone for zone in beside if -zone.behind > subject.hindsight.equal]
    assert better
    for zone in better:
        assert "BETTER than the recommended one (95 % interval" in zone.reason
        assert "no difference" not in zone.reason
        assert zone.behind_spread > 0


def test_a_zone_says_no_difference_only_where_there_is_none(reported, second_thoughts):
    for report, hindsight in (
        (reported.report, reported.subject.hindsight), (second_thoughts[1], second_thoughts[0].hindsight),
    ):  # fmt: skip
        for zone in report.zones:
            if "no difference" in zone.reason:
                assert abs(zone.behind) <= hindsight.equal


def test_zones_are_compared_on_one_footing(reported):
    for zone in reported.report.zones:
        if zone.shape is not None:
            recommended = next(one for one in reported.report.zones if one.zone == "recommended")
            assert zone.behind == pytest.approx(zone.val_bpb - recommended.val_bpb, abs=1e-6)


def test_the_page_shows_the_rival_and_the_interval_of_each_zone(second_thoughts):
    page = as_markdown(second_thoughts[1], {})
    assert second_thoughts[1].candidate.rival.preset in page
    assert "BETTER" in page


def test_shapes_that_failed_are_never_ahead(reported):
    found = surprised(reported)
    rival = Hindsight(reported.work, found).rival
    failed = Outcome(probe=Probe(preset=rival.preset, shape=rival.shape, seconds=20), status=Status.CRASHED)
    found.search = found.search.model_copy(update={"outcomes": (*found.search.outcomes, failed)})
    again = Hindsight(replace(reported.work), found).rival
    assert again is None or again.shape != rival.shape


class Spent:
    """A clock that has so many seconds left."""

    def __init__(self, remaining_s: float):
        self.spent_s, self.remaining_s, self.total_s = 0.0, remaining_s, 3600.0


class AsExpected:
    """A machine on which every run scores what was expected of the rival."""

    memory_mb = 16_000.0

    def __init__(self, rival):
        self.rival = rival

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        steps = int(self.rival.tok_per_sec * probe.seconds / probe.shape.total_batch_size)
        return Outcome(
            probe=probe, status=Status.OK, val_bpb=self.rival.val_bpb, num_steps=steps, run_id="late",
            num_tokens=steps * probe.shape.total_batch_size, tok_per_sec=self.rival.tok_per_sec, wall_seconds=9.0,
        )  # fmt: skip


def before_confirming(found: Findings) -> Findings:
    return replace(found, confirm=None, checkpoint=None, rungs=None, noise=None, pairing=None, extend=None)


def test_where_there_is_time_the_shape_that_is_now_ahead_is_confirmed_too_and_may_be_chosen(reported, tmp_path):
    found = surprised(reported)
    rival = Hindsight(reported.work, replace(before_confirming(found), confirm=found.confirm)).rival
    assert rival
    work = replace(reported.work, clock=Spent(3000.0), folder=tmp_path, machine=AsExpected(rival))
    again = reconsidered(work, before_confirming(found), found.confirm)
    last = again.outcomes[-1]
    assert len(again.runs) == len(found.confirm.runs) + 1
    assert (last.probe.shape, last.probe.seconds) == (rival.shape, found.confirm.seconds)
    assert again.chosen.shape == rival.shape
    assert "after the confirming runs it is expected to be" in again.reason


def searched(found: Findings, rival: Rival, seconds: float) -> Outcome:
    """A run of the search that scores what was expected."""
    steps = round(rival.tok_per_sec * seconds) // rival.shape.total_batch_size
    probe = Probe(preset=rival.preset, shape=rival.shape, seconds=seconds, rung=found.prior.rung, tuning=found.tuning)
    return Outcome(
        probe=probe, status=Status.OK, val_bpb=rival.val_bpb, num_tokens=steps * rival.shape.total_batch_size,
        num_steps=steps, tok_per_sec=rival.tok_per_sec, wall_seconds=seconds + 9, run_id="long",
    )  # fmt: skip


def test_without_time_to_confirm_it_and_for_the_noise_the_best_that_ran_in_the_search_is_taken_with_its_run(reported):
    """Seen on a CPU: the confirming runs told that a shape the search had trained for 18.75 s was better, with 3 s too
    few to confirm it, and the noise runs and the default were of the worse one."""
    found = before_confirming(surprised(reported))
    confirmation = surprised(reported).confirm
    rival = Hindsight(reported.work, replace(found, confirm=confirmation)).rival
    brief = searched(found, rival, confirmation.seconds / 2)
    search = found.search.model_copy(update={"outcomes": (*found.search.outcomes, brief)})
    for remaining_s in (0.0, confirmation.seconds + 20):
        work = replace(reported.work, clock=Spent(remaining_s))
        again = reconsidered(work, replace(found, search=search), confirmation)
        assert again.chosen.shape == rival.shape
        assert again.outcomes[-1] == brief
        assert f"by its run of {brief.probe.seconds:g} s in the search" in again.reason


def test_without_that_time_the_choice_stands_where_nothing_that_is_ahead_ran_in_the_search(reported):
    found = before_confirming(surprised(reported))
    confirmed = {one.probe.shape for one in reported.found.confirm.outcomes}
    left = tuple(one for one in found.search.outcomes if one.probe.shape in confirmed)
    work = replace(reported.work, clock=Spent(0.0))
    again = reconsidered(
        work, replace(found, search=found.search.model_copy(update={"outcomes": left})), reported.found.confirm
    )
    assert again == reported.found.confirm


def test_a_choice_that_nothing_beats_is_not_reconsidered(reported, monkeypatch):
    work = replace(reported.work, clock=Spent(3000.0))
    monkeypatch.setattr(Hindsight, "rival", None)
    found = surprised(reported)
    assert reconsidered(work, before_confirming(found), found.confirm) == found.confirm


def test_a_shape_that_only_ran_without_being_confirmed_and_is_expected_to_be_better_becomes_the_default(reported):
    """Seen on a CPU: what was confirmed had so large a step that two others with runs of 18.75 s were expected to be
    0.1 better with an interval that excluded zero, and the calibration ended with the one it believed to be worse."""
    found, confirmed = surprised(reported), reported.found.confirm.chosen
    found.preferred = preferred(reported.work, found)
    default = platform_default(reported.work, found)
    longest_s = max(one.probe.seconds for one in found.good_runs(default.shape))
    assert default.shape not in [one.probe.shape for one in found.confirm.outcomes]
    assert default.expects.val_bpb < platform_default(reported.work, surprised(reported)).expects.val_bpb
    assert default.confidence is Confidence.LOW
    assert default.reason.startswith(f"predicted from its run of {longest_s:g} s; the confirmed {confirmed.preset} ")
    assert "worse (95 % interval" in default.reason


def test_the_report_is_of_the_shape_that_hindsight_prefers(reported):
    found = surprised(reported)
    found.preferred = preferred(reported.work, found)
    subject = Subject(reported.folder, reported.work, found, platform_default(reported.work, found))
    report = build_report(subject, Points(subject))
    recommended = next(one for one in report.zones if one.zone == "recommended")
    assert recommended.shape == found.preferred.chosen.shape
    assert f"**low**: {found.preferred.reason}" in as_markdown(report, {})
    assert not report.candidate.sure


def test_a_shape_that_is_only_perhaps_better_is_preferred_too_where_that_is_more_than_noise(reported, monkeypatch):
    """On simulated machines waiting until it is sure cost more than choosing what is expected to be best."""
    found = surprised(reported)
    monkeypatch.setattr(Rival, "is_sure", False)
    assert preferred(reported.work, found).chosen.shape != found.confirm.chosen.shape


def test_a_shape_of_which_only_the_speed_was_measured_is_not_preferred(reported, monkeypatch):
    """Seen on a simulated laptop: a batch that had been timed for 5 s became the default, 9 % above the best."""
    found = copy.copy(reported.found)
    confirmed = {one.probe.shape for one in found.confirm.outcomes}
    left = tuple(one for one in found.search.outcomes if one.probe.shape in confirmed)
    found.search = found.search.model_copy(update={"outcomes": left})
    monkeypatch.setattr(Hindsight, "equal", -10.0)
    again = preferred(reported.work, found)
    assert again is None or again.chosen.shape in confirmed


def test_an_equal_of_the_confirmed_shape_is_not_preferred(reported, monkeypatch):
    monkeypatch.setattr(Hindsight, "equal", 10.0)
    assert preferred(reported.work, surprised(reported)) is None


def test_where_nothing_is_ahead_of_the_confirmed_shape_it_stays(reported):
    assert preferred(reported.work, reported.found) is None
