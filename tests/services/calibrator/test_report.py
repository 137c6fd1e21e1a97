"""The report of a calibration: every number has a source, and sections say what the phases found."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from services.calibrator.calibrate import report as report_of
from services.calibrator.conclusion import platform_default
from services.calibrator.confirm import Confirmation
from services.calibrator.envelope import EnvelopeFound
from services.calibrator.envelope_model import Band, pass_tokens
from services.calibrator.experiments import Journal
from services.calibrator.noise import Noise
from services.calibrator.report import write_report
from services.calibrator.report.contract import Report
from services.calibrator.report.markdown import as_markdown
from services.calibrator.report.points import Points
from services.calibrator.report.scaling import BUDGETS, NUM_BUDGETS, crossing_of, first_below
from services.calibrator.report.subject import Book, Subject, id_of
from services.calibrator.report.write import build_report
from services.calibrator.rungs import RungCosts
from services.calibrator.tune import concluded
from shared.calibration.events import read_events
from shared.contracts import Rung
from shared.experiment.platform_default import Confidence
from shared.quality import published_rows
from shared.quality.model_size import model_size
from tests.services.calibrator.simulated import simulated_calibration

pytestmark = pytest.mark.usefixtures("workplace")
SOURCE_THEMSELVES = ("evidence", "schema_version")


def unsourced(report: dict) -> list[str]:
    """Places of numbers that stand in no section with sources, and sources that are no evidence."""
    known = {entry["id"] for entry in report["evidence"]}
    sections = {name: value for name, value in report.items() if name not in SOURCE_THEMSELVES}
    return [place for place, sources in numbers(sections, "report", ()) if not sources or not set(sources) <= known]


def numbers(node: object, place: str, sources: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every number with the sources of the nearest section around it that has any."""
    if isinstance(node, dict):
        inner = tuple(node["sources"]) if "sources" in node else sources
        for name, value in node.items():
            yield from numbers(value, f"{place}.{name}", inner)
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from numbers(value, f"{place}[{number}]", sources)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield place, sources


def test_every_number_names_evidence_that_exists(reported):
    report = json.loads((reported.folder / "report.json").read_bytes())
    found = {place.split(".")[1].split("[")[0] for place, _ in numbers(report, "report", ())}
    assert unsourced(report) == []
    assert {"candidate", "zones", "beside", "scaling", "checks", "claims", "noise", "rungs", "families"} <= found


@pytest.mark.parametrize("section", ["candidate", "noise", "scaling"])
def test_a_number_without_a_source_would_be_found(reported, section):
    report = json.loads((reported.folder / "report.json").read_bytes())
    report[section]["sources"] = []
    assert any(place.startswith(f"report.{section}") for place in unsourced(report))
    report[section]["sources"] = ["cal-00000000-nobody"]
    assert any(place.startswith(f"report.{section}") for place in unsourced(report))


def test_evidence_is_what_the_journal_and_the_table_hold(reported):
    journal = {outcome.run_id: outcome for outcome in Journal(next(reported.folder.glob("probes-*.jsonl"))).all()}
    rows = {row.source for row in published_rows()}
    entries = reported.report.evidence
    assert {one.id: one.outcome for one in entries if one.kind == "run"} == journal
    assert {one.id for one in entries if one.kind == "row"} <= rows
    assert all((reported.folder / one.id).is_file() for one in entries if one.kind == "file")
    assert len({one.id for one in entries}) == len(entries)


def test_the_page_cites_only_evidence_and_shows_the_default(reported):
    known = {one.id for one in reported.report.evidence}
    cited = set(re.findall(r"`([^`]+)`", reported.markdown.replace("`report.json`", "")))
    assert cited <= known
    assert f"{reported.default.val_bpb:.4f} +- {reported.default.spread:.4f}" in reported.markdown
    assert f"**{reported.default.confidence}**" in reported.markdown


def test_tables_of_the_page_have_as_many_cells_in_every_row(reported):
    for block in reported.markdown.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block


def test_zones_stand_around_the_default(reported):
    zones = {zone.zone: zone for zone in reported.report.zones}
    size = {name: model_size(zone.shape, 8192).block_params for name, zone in zones.items() if zone.shape}
    assert list(zones) == ["lower", "recommended", "upper", "reference"]
    assert zones["recommended"].shape == reported.default.shape
    zone, default = zones["recommended"], reported.default
    assert abs(zone.val_bpb - default.val_bpb) <= 3 * (zone.spread + default.spread)
    assert size["lower"] < size["recommended"] < size["upper"]
    assert zones["reference"].preset == "upstream"
    assert all(zone.reason and zone.behind is not None for zone in zones.values())


def test_checks_compare_confirming_runs_with_what_the_table_had_said(reported):
    checks, runs = reported.report.checks, reported.found.confirm.runs
    assert [(one.run, one.said) for one in checks.runs] == [(run.outcome.run_id, run.said) for run in runs]
    errors = [abs(run.outcome.val_bpb - run.said) for run in runs]
    assert checks.mean_error == pytest.approx(np.mean(errors))
    before = [reported.work.table.predict(one.shape, one.num_tokens).val_bpb for one in checks.runs]
    assert [one.elsewhere for one in checks.runs] == pytest.approx(before)
    assert checks.within_one <= checks.within_two <= len(runs)


def test_noise_tells_the_smallest_effect_for_one_three_and_eight_runs(reported):
    noise = reported.report.noise
    assert [effect.num_runs for effect in noise.effects] == [1, 3, 8]
    assert noise.effects[0].val_bpb == pytest.approx(2 * 2**0.5 * noise.floor.sigma)
    assert noise.effects[2].val_bpb == pytest.approx(noise.floor.sigma)


def test_other_machines_stand_beside_with_the_same_shape_here(reported):
    beside = reported.report.beside
    assert [one.source for one in beside] == [row.source for row in published_rows()]
    assert all(one.source in one.sources for one in beside)
    h100 = beside[-1]
    assert (h100.preset, round(h100.tok_per_sec)) == ("upstream", 1_665_488)
    assert all(one.here_share == pytest.approx(one.here_tok_per_sec / one.tok_per_sec) for one in beside)
    assert h100.memory_mb == 45060
    envelope = reported.found.envelope.envelope
    for one in beside:
        fitting, _ = reported.points.here(one.shape)
        assert one.here_memory_mb == pytest.approx(envelope.memory_of(fitting))
    assert "| MB there | MiB here |" in reported.markdown
    assert "| 45,060 |" in reported.markdown


def test_a_shape_that_ran_here_stands_beside_them_as_it_ran(reported):
    """Its line predicts the speed of the largest passes that fit, which may be several times slower."""
    ran = {one.probe.shape: one for one in reported.found.outcomes(tuned=True) if one.is_ok}
    same = [one for one in reported.report.beside if one.shape in ran]
    assert same
    for one in same:
        runs = reported.found.good_runs(one.shape)
        assert one.here_tok_per_sec == pytest.approx(median(run.tok_per_sec for run in runs))
        assert one.reason == ""
        assert {id_of(run) for run in runs} <= set(one.sources)


def test_rows_that_could_not_be_read_are_on_the_page(reported):
    work = replace(reported.work, left_out=("fleet-rows.json: row 7 left out, val_bpb: too small",))
    subject = Subject(reported.folder, work, reported.found, reported.default)
    page = as_markdown(build_report(subject, Points(subject)), {})
    assert "Quality rows left out: fleet-rows.json: row 7 left out, val_bpb: too small." in page


def test_where_no_row_says_anything_the_law_is_the_source():
    book = Book((), published_rows())
    assert book.rows(()) == ("quality-law",)
    assert [(one.id, one.kind) for one in book.entries()] == [("quality-law", "law")]


def test_a_curve_stays_below_from_its_last_change_of_sign_on():
    ahead = np.ones((4, NUM_BUDGETS))
    ahead[1] = -1
    ahead[2, 30:] = -1
    ahead[3, 10:20] = -1  # below in between only
    assert first_below(ahead).tolist() == [np.inf, 1.0, BUDGETS[30], np.inf]


def test_the_same_model_at_less_speed_never_overtakes(reported):
    """Drawn independently the two curves would cross in a third of the draws."""
    points = reported.points
    slower = replace(points.winner, tok_per_sec=0.7 * points.winner.tok_per_sec)
    crossing = crossing_of(points.subject, points.winner, slower)
    assert crossing.expected == np.inf
    assert crossing.probability < 0.1


def test_a_faster_copy_of_the_same_model_is_ahead_from_the_start(reported):
    points = reported.points
    faster = replace(points.winner, tok_per_sec=1.5 * points.winner.tok_per_sec)
    crossing = crossing_of(points.subject, points.winner, faster)
    assert (crossing.expected, crossing.low) == (1.0, 1.0)
    assert crossing.gain > 0


def test_the_scaling_candidate_is_larger_and_its_interval_holds_the_crossing(reported):
    scaling = reported.report.scaling
    if scaling.shape is None:
        assert scaling.reason
        return
    winner = reported.default.shape
    assert model_size(scaling.shape, 8192).block_params > model_size(winner, 8192).block_params
    assert scaling.low <= scaling.crossing <= (scaling.high or np.inf)
    assert 0 < scaling.probability <= 1


def bare(reported) -> tuple[Subject, Report]:
    """A calibration of which little worked: no shape ranked, nothing confirmed, scored or repeated."""
    found = replace(
        reported.found,
        search=reported.found.search.model_copy(update={"ranked": (), "sure": 0.0, "stopped": "exhausted"}),
        confirm=Confirmation(runs=(), chosen=None, reason="no shape came to a number", seconds=0.0),
        rungs=RungCosts(run_id="", costs=(), left_out=(), chosen=Rung.CHEAP, reason="cheap, the canonical rung"),
        noise=Noise(floor=None, reason="no shape was chosen", outcomes=()),
    )
    subject = Subject(reported.folder, reported.work, found, platform_default(reported.work, found))
    return subject, build_report(subject, Points(subject))


def test_a_calibration_of_which_little_worked_still_has_an_honest_report(reported):
    subject, report = bare(reported)
    assert subject.default.confidence is Confidence.LOW
    assert unsourced(report.model_dump(mode="json")) == []
    assert (report.checks.reason, report.noise.reason) == ("no shape came to a number", "no shape was chosen")
    cut = {phase.phase: phase.cut_short for phase in report.phases}
    assert cut["confirm"] == ("no shape came to a number",)
    assert cut["rungs"] == ("no weights were there to score",)
    assert cut["search"] == ("no shape was ranked",)


def test_a_small_machine_with_one_preset_has_no_zones_beside_it(tmp_path):
    folder = tmp_path / "calibration"
    work, found = simulated_calibration(folder, search_s=60.0, memory_mb=700.0, presets=("m5-tiny",))
    subject = Subject(folder, work, found, platform_default(work, found))
    report = build_report(subject, Points(subject))
    zones = {zone.zone: zone for zone in report.zones}
    assert unsourced(report.model_dump(mode="json")) == []
    assert (zones["lower"].shape, zones["upper"].shape, report.scaling.shape) == (None, None, None)
    assert "largest that was asked for" in report.scaling.reason
    assert zones["reference"].shape is None
    assert report.candidate.band is not Band.TOO_LARGE


def test_families_that_do_not_fit_are_named_and_never_recommended(reported):
    envelope = reported.found.envelope.envelope
    families = tuple(
        family.model_copy(update={"largest_pass_tokens": 0, "probes": ()}) if family.d_model > 256 else family
        for family in envelope.families
    )
    small = EnvelopeFound(envelope=envelope.model_copy(update={"families": families}), outcomes=())
    found = replace(reported.found, envelope=small)
    subject = Subject(reported.folder, reported.work, found, reported.default)
    report = build_report(subject, Points(subject))
    assert unsourced(report.model_dump(mode="json")) == []
    upper = next(zone for zone in report.zones if zone.zone == "upper")
    assert upper.shape is None
    assert "m5-balanced, m5-large: does not fit" in upper.reason
    assert report.scaling.reason.startswith("no larger model fits")


def test_a_report_that_cannot_be_written_is_a_note_and_costs_nobody_the_default(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "calibration")
    (folder / "report.json").unlink()
    (folder / "report.json").mkdir()
    report_of(replace(reported.work, folder=folder), reported.found, reported.default)
    last = read_events(folder)[0][-1]
    assert (last.kind, last.phase) == ("note", "report")
    assert last.says.startswith("the report could not be written: ")


def test_events_that_cannot_be_read_cost_only_themselves(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "calibration")
    lines = (folder / "events.jsonl").read_text().splitlines()
    lines[3] = lines[3][:20]
    (folder / "events.jsonl").write_text("\n".join(["not json", *lines]) + "\n")
    write_report(folder, replace(reported.work, folder=folder), reported.found, reported.default)
    phases = Report.model_validate_json((folder / "report.json").read_bytes()).phases
    assert [phase.phase for phase in phases if phase.num_probes] == ["tune", "envelope", "search", "confirm", "noise"]


def test_a_largest_pass_is_measured_where_a_probe_had_it_and_inferred_where_it_is_only_expected_to_fit(reported):
    claims = {claim.what: claim for claim in reported.report.claims}
    for family in reported.report.families:
        ran = [one for one in reported.found.envelope.outcomes + reported.found.tune.tried if one.is_ok]
        passes = {pass_tokens(one.probe.shape) for one in ran if one.probe.preset == family.preset}
        claim, tried = claims[f"largest pass of {family.preset}"], family.largest_pass_tokens in passes
        assert (claim.how, family.how) == (("measured",) * 2 if tried else ("inferred",) * 2)
        assert "by the memory line" not in claim.sure or not tried
        assert bool(family.tok_per_sec) == bool(family.largest_pass_tokens)


def test_where_nothing_else_was_tried_the_tuning_does_not_say_that_nothing_is_faster(reported):
    alone = concluded(list(reported.found.tune.tried[:1]), ["compile on"])
    assert alone.reason.endswith("tok/s; nothing else was tried")


def test_the_page_says_that_hindsight_looked_beyond_the_noise(reported):
    if reported.report.candidate.rival is None:
        assert "no shape is expected to be better by more than the noise of two runs" in reported.markdown
