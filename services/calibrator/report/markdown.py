"""report.md: report.json in words and tables. Every row ends with its sources."""

from collections.abc import Iterable, Mapping, Sequence

from services.calibrator.conclusion import describe_rival
from services.calibrator.report.contract import Candidate, Report, RungReport, Scaling
from services.calibrator.tune import describe as describe_tuning
from services.calibrator.work import describe_shape

NO_RIVAL = "no shape is expected to be better by more than the noise of two runs"
MOST_SOURCES = 3
"""named in a row; report.json has all of them"""


def as_markdown(report: Report, plots: Mapping[str, str]) -> str:
    """`plots`: path, relative to the report, and caption."""
    parts = [
        _head(report), _candidate(report), _zones(report), _claims(report), _checks(report), _noise(report),
        _rungs(report), _beside(report), _scaling(report.scaling), _families(report), _tuning(report),
        _failures(report), _phases(report), _plots(plots), _evidence(report),
    ] if report.candidate.default.is_measured else [
        _head(report), _candidate(report), _failures(report), _tuning(report), _phases(report), _evidence(report),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(report: Report) -> list[str]:
    calibration, default = report.asked.calibration, report.candidate.default
    versions = ", ".join(f"{name} {version}" for name, version in report.machine.versions.items())
    known = {"exact": "known before", "near": "not known before, but one like it is", "new": "not known before"}
    nearest = f" ({report.machine.nearest})" if report.machine.nearest else ""
    return [
        f"# Calibration of {calibration.hardware_key}",
        "",
        f"{default.engine} on {default.device}, mode {calibration.mode}, {calibration.minutes:g} minutes, for budgets "
        f"of {calibration.target_seconds:g} s on dataset {calibration.dataset.name}. Made {report.made_at:%Y-%m-%d} "
        f"(`{report.asked.sources[0]}`).",
        f"This machine was {known[report.machine.known]}{nearest}. {versions}.",
        *([f"Its earlier default: {report.machine.standing}."] if report.machine.standing else []),
        *(f"Quality rows left out: {note}." for note in report.machine.left_out),
    ]


def _candidate(report: Report) -> list[str]:
    one, default = report.candidate, report.candidate.default
    shape = default.shape
    rows = [
        ["shape", f"{default.family}: depth {shape.depth}, width {shape.d_model}, heads {shape.heads}, "
                  f"{describe_shape(shape)}"],
        ["tuning", describe_tuning(default.tuning)],
        *_expected(one),
        ["confidence", f"**{default.confidence}**: {default.reason}"],
        *([["best of all", _sure(one)],
           ["in hindsight", describe_rival(one.rival) if one.rival else NO_RIVAL]] if default.is_measured else []),
    ]  # fmt: skip
    lines = ["## The default", "", *table(["what", "value"], rows)]
    if default.next_step:
        lines += ["", f"What to do next: {default.next_step}."]
    if one.rung_correction:
        lines += ["", f"Probes were scored on {one.probe_rung}; {one.rung_correction:+.4f} leads to {default.rung}."]
    return [*lines, "", f"Sources: {cited(one.sources)}."]


def _expected(one: Candidate) -> list[list[str]]:
    default, expects = one.default, one.default.expects
    if expects is None:
        return [["expected", "not known: nothing was measured"]]
    return [
        ["val_bpb expected", f"{expects.val_bpb:.4f} +- {expects.spread:.4f} on {default.rung} after "
                             f"{default.budget_seconds:g} s"],
        ["training", f"{one.target_tokens:,} tokens, {one.target_steps:,} steps, {expects.tok_per_sec:,.0f} tokens/s"],
        ["memory", f"{expects.memory_mb:,.0f} MiB, {one.band}"],
    ]  # fmt: skip


def _sure(one: Candidate) -> str:
    if not one.sure:
        return "not known"
    return f"probability {one.sure:.0%} that no other shape is better by more than {one.margin:.4f}"


def _zones(report: Report) -> list[str]:
    rows = []
    for zone in report.zones:
        if zone.shape is None:
            rows.append([zone.zone, "none", "", "", "", zone.reason, ""])
            continue
        score = f"{zone.val_bpb:.4f} +- {zone.spread:.4f} ({zone.behind:+.4f} +- {zone.behind_spread:.4f})"
        cost = f"{zone.tok_per_sec:,.0f}", f"{zone.memory_mb:,.0f}, {zone.band}"
        what = f"{zone.preset}, {describe_shape(zone.shape)}"
        rows.append([zone.zone, what, score, *cost, zone.reason, cited(zone.sources)])
    columns = ["zone", "shape", "val_bpb (behind)", "tokens/s", "MiB", "why", "sources"]
    said = "All by the quality table with every run of this calibration; behind: above the recommended one's."
    return ["## Zones", "", said, "", *table(columns, rows)]


def _claims(report: Report) -> list[str]:
    rows = [
        [claim.what, f"{_number(claim.value)} {claim.unit}", claim.how, claim.sure, cited(claim.sources)]
        for claim in report.claims
    ]
    said = "Measured: on a run of this machine. Inferred: from its other runs, by a formula. Predicted: by the table."
    return [
        "## What is measured and how sure it is",
        "",
        said,
        "",
        *table(["what", "value", "how", "sure", "sources"], rows),
    ]


def _checks(report: Report) -> list[str]:
    checks = report.checks
    lines = ["## How far the quality table was off", ""]
    if not checks.runs:
        return [*lines, f"No confirming run can tell: {checks.reason}."]
    rows = [
        [
            f"{one.preset}, {describe_shape(one.shape)}", f"{one.seconds:g} s, {one.num_tokens:,}",
            f"{one.val_bpb:.4f}",
            f"{one.said:.4f} +- {one.said_spread:.4f} ({one.val_bpb - one.said:+.4f})",
            f"{one.elsewhere:.4f} +- {one.elsewhere_spread:.4f} ({one.val_bpb - one.elsewhere:+.4f})", cited([one.run]),
        ]
        for one in checks.runs
    ]  # fmt: skip
    columns = ["shape", "trained, tokens", "measured", "said, with shorter runs from here", "said before", "run"]
    counted = f"{checks.within_one} of {len(checks.runs)} within one spread, {checks.within_two} within two"
    errors = f"off by {checks.mean_error:.4f} on average, {checks.mean_error_elsewhere:.4f} before this calibration"
    return [*lines, f"{counted}; {errors}. In brackets: measured minus said.", "", *table(columns, rows)]


def _noise(report: Report) -> list[str]:
    floor, lines = report.noise.floor, ["## Noise", ""]
    if floor is None:
        return [*lines, f"The noise floor is not known: {report.noise.reason}.", *_rest_of_noise(report)]
    said = (
        f"Standard deviation over seeds {floor.sigma:.4f}, 95 % interval {floor.low:.4f} to {floor.high:.4f}: "
        f"{report.noise.reason}, on {floor.rung}."
    )
    rows = [[str(effect.num_runs), f"{effect.val_bpb:.4f}"] for effect in report.noise.effects]
    effects = table(["runs of each", "smallest difference that shows"], rows)
    return [*lines, said, "", *effects, *_rest_of_noise(report), "", f"Sources: {cited(report.noise.sources)}."]


def _rest_of_noise(report: Report) -> list[str]:
    pairing = f"Pairing by seed: {report.noise.pairing}." if report.noise.pairing else ""
    return [line for one in (pairing, report.noise.last_minutes) if one for line in ("", one)]


def _rungs(report: Report) -> list[str]:
    rungs = report.rungs
    rows = [
        [
            f"{row.rung}{' (chosen)' if row.chosen else ''}", f"{row.num_tokens:,}", f"{row.seconds:.1f}",
            f"{row.total_seconds:.1f}", f"{row.share_of_budget:.2%}", f"{row.val_bpb:.4f}", f"{row.error:+.4f}",
        ]
        for row in rungs.rows
    ]  # fmt: skip
    columns = ["rung", "tokens", "scoring s", "with start and audit s", "of the budget", "val_bpb", "error"]
    lines = ["## Rungs", "", f"Chosen: {rungs.reason}."]
    lines += ["", *table(columns, rows), "", f"Source: {cited(rungs.sources)}."] if rows else []
    lines += _batches(rungs)
    return [*lines, *(["", f"Left out: {'; '.join(rungs.left_out)}."] if rungs.left_out else [])]


def _batches(rungs: RungReport) -> list[str]:
    """What each evaluation batch costs."""
    if not rungs.batches:
        return []
    costs = [f"{one.rows}: {one.reason if one.seconds is None else f'{one.seconds:.1f} s'}" for one in rungs.batches]
    return ["", f"Evaluation batch {rungs.eval_batch_size}, of rows scored at once on cheap: {'; '.join(costs)}."]


def _beside(report: Report) -> list[str]:
    rows = []
    for one in report.beside:
        here = f"{one.here_val_bpb:.4f} +- {one.here_spread:.4f}" if one.here_val_bpb is not None else "-"
        speed = f"{one.here_tok_per_sec:,.0f} ({one.here_share:.3g} x)" if one.here_tok_per_sec is not None else "-"
        batch = f"{one.shape.device_batch_size}/{one.shape.total_batch_size}"
        rows.append([
            one.machine, f"{one.preset} {batch}", f"{one.val_bpb:.4f}", here, f"{one.tok_per_sec:,.0f}", speed,
            _megabytes(one.memory_mb), _megabytes(one.here_memory_mb), one.reason, cited(one.sources),
        ])  # fmt: skip
    columns = [
        "machine", "preset, batch", "val_bpb there", "here", "tokens/s there", "here", "MB there", "MiB here",
        "remark", "sources",
    ]  # fmt: skip
    said = (
        "Published figures after 300 s, and what is expected of the same shape here. Their trainers and evaluators are "
        "not ours and their texts may differ, so val_bpb shows an order of magnitude; tokens/s compares better. "
        "Memory is the peak of training as they published it, here by the memory line at the batch that fits."
    )
    return ["## Beside other machines", "", said, "", *table(columns, rows)]


def _scaling(one: Scaling) -> list[str]:
    lines = ["## Scaling candidate", ""]
    if one.shape is None:
        chance = f" (probability {one.probability:.0%})" if one.probability is not None else ""
        return [*lines, f"None: {one.reason}{chance}."]
    high = f"{one.high:.1f}" if one.high is not None else "more than 10"
    return [
        *lines,
        f"**{one.preset}**, {describe_shape(one.shape)}: {one.reason}. 90 % interval {one.low:.1f} to {high} budgets; "
        f"probability {one.probability:.0%} within 10; {one.gain:.4f} better at 10. Sources: {cited(one.sources)}.",
    ]


def _families(report: Report) -> list[str]:
    per = "a thousand tokens"
    rows = [
        [
            one.preset, f"{one.depth}/{one.d_model}/{one.heads}", f"{one.largest_pass_tokens:,}",
            _speed(one.tok_per_sec),
            f"{one.memory_mb.base:,.0f} + {1000 * one.memory_mb.slope:,.1f} {per}", one.how, cited(one.sources),
        ]
        for one in report.families
    ]  # fmt: skip
    columns = [
        "family",
        "depth/width/heads",
        "largest pass, tokens",
        "tokens/s there",
        "MiB of a pass",
        "how",
        "sources",
    ]
    return ["## Envelope", "", *table(columns, rows)]


def _tuning(report: Report) -> list[str]:
    tuning = report.tuning
    rows = [
        [
            describe_tuning(one.tuning),
            one.status,
            _speed(one.tok_per_sec),
            cited(one.sources),
        ]
        for one in tuning.tried
    ]
    lines = ["## Tuning", "", f"{tuning.reason}.", "", *table(["setting", "status", "tokens/s", "source"], rows)]
    return [*lines, *(["", f"Not tried: {'; '.join(tuning.left_out)}."] if tuning.left_out else [])]


def _failures(report: Report) -> list[str]:
    lines = ["## Probes that came to no number", ""]
    if not report.failures:
        return [*lines, "None."]
    rows = [
        [
            one.phase, f"{one.preset}, {describe_shape(one.shape)}", f"{one.seconds:g}", one.status.replace("_", " "),
            one.reason, cited(one.sources),
        ]
        for one in report.failures
    ]  # fmt: skip
    return [*lines, *table(["phase", "shape", "trained s", "end", "why", "source"], rows)]


def _phases(report: Report) -> list[str]:
    rows = [
        [
            one.phase, one.says, f"{one.planned_minutes:.1f}", "reused" if one.reused else f"{one.minutes:.1f}",
            str(one.num_probes), "; ".join(one.cut_short),
        ]
        for one in report.phases
    ]  # fmt: skip
    columns = ["phase", "what for", "planned min", "min", "probes", "cut short"]
    sources = cited(report.phases[0].sources) if report.phases else ""
    return ["## Phases", "", *table(columns, rows), "", f"Source: {sources}."]


def _plots(plots: Mapping[str, str]) -> list[str]:
    shown = [line for path, caption in plots.items() for line in (f"![{caption}]({path})", "")]
    return ["## Pictures", "", *shown] if shown else ["## Pictures", "", "None could be drawn."]


def _evidence(report: Report) -> list[str]:
    rows = [[f"`{one.id}`", one.kind, one.says] for one in report.evidence]
    said = "A run is a run directory of this machine; `report.json` holds each outcome and row in full."
    return ["## Evidence", "", said, "", *table(["id", "kind", "what"], rows)]


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return [*lines, *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)]


def cited(sources: Sequence[str]) -> str:
    named = ", ".join(f"`{source}`" for source in sources[:MOST_SOURCES])
    more = len(sources) - MOST_SOURCES
    return f"{named} and {more} more" if more > 0 else named


def _speed(tok_per_sec: float | None) -> str:
    return f"{tok_per_sec:,.0f}" if tok_per_sec else "-"


def _megabytes(value: float | None) -> str:
    return f"{value:,.0f}" if value is not None else "-"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4f}"
