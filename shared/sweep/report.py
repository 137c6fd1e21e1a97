"""What a sweep leaves for people: report.md, progress.png, best/ with the recipe and its settings, and results.tsv."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from shared.files import write_atomic
from shared.research import results_tsv
from shared.sweep.folder import Begun, Ended, Header, SweepFolder
from shared.sweep.plan import Plan, Point
from shared.sweep.proposals import CONSTANT, SET
from shared.tracking.plots import plot_progress

if TYPE_CHECKING:
    from optuna import Study

FEWEST_FOR_IMPORTANCE = 8
NOT_ASKED_TWICE = "A verdict here compares single means; `autoresearch decide` says which of them noise could explain."


def best_of(ended: Mapping[int, Ended]) -> Ended | None:
    """The one that was kept last: it has the lowest number."""
    kept = [end for end in ended.values() if end.verdict == "keep"]
    return kept[-1] if kept else None


def write_report(
    folder: SweepFolder, header: Header, begun: Mapping[int, Begun], ended: Mapping[int, Ended], study: "Study | None"
) -> None:
    """Everything but results.tsv, anew."""
    write_atomic(folder.path / "report.md", report(header, begun, ended, study))
    results = [result for number in ended for result in ended[number].results]
    plot_progress(results, folder.path / "progress.png")
    if best := best_of(ended):
        write_best(folder, header.plan, begun[best.number], best)


def write_best(folder: SweepFolder, plan: Plan, begun: Begun, best: Ended) -> None:
    place = folder.path / "best"
    place.mkdir(exist_ok=True)
    write_atomic(place / "recipe.py", folder.recipe(begun.recipe_sha))
    asked = {"preset": plan.preset, "set": {**plan.set, **begun.point.set}, "constants": begun.point.constants}
    said = {**asked, "val_bpb": best.val_bpb, "runs": [run.run_id for run in begun.runs]}
    write_atomic(place / "settings.json", json.dumps(said, indent=2) + "\n")


def report(header: Header, begun: Mapping[int, Begun], ended: Mapping[int, Ended], study: "Study | None") -> str:
    best = best_of(ended)
    lines = [f"# Sweep {header.tag}", ""]
    lines += [outcome(best, begun), "", NOT_ASKED_TWICE, ""]
    lines += ["| # | val_bpb | verdict | what | runs | reason |", "|---|---|---|---|---|---|"]
    ranked = sorted(ended.values(), key=lambda end: (end.val_bpb is None, end.val_bpb or 0.0, end.number))
    lines += [row(begun[end.number], end) for end in ranked]
    if importances := importance(study):
        lines += ["", "How much of the differences each dimension explains (PED-ANOVA):", ""]
        lines += [f"- {name}: {share:.0%}" for name, share in importances.items()]
    return "\n".join(lines) + "\n"


def outcome(best: Ended | None, begun: Mapping[int, Begun]) -> str:
    if best is None:
        return "Nothing was kept: no run is ranked. The reasons are in the table."
    if best.number == 0:
        return f"Nothing was better than the base, val_bpb {best.val_bpb:.6f}."
    return f"Best: val_bpb {best.val_bpb:.6f} with {begun[best.number].point}. Its recipe and settings are in best/."


def row(begun: Begun, end: Ended) -> str:
    score = "-" if end.val_bpb is None else f"{end.val_bpb:.6f}"
    runs = ", ".join(run.run_id for run in begun.runs)
    # as code, without what would end it or the cell: a recipe may have written the reason
    reason = f"`{end.reason}`".translate({ord("|"): " ", ord("`"): None})
    return f"| {end.number} | {score} | {end.verdict} | {begun.point} | {runs} | {reason and f'`{reason}`'} |"


def importance(study: "Study | None") -> dict[str, float]:
    """Empty with fewer than eight numbers, or when there is nothing to tell apart."""
    trials = study.get_trials(deepcopy=False) if study else []
    if study is None or sum(trial.value is not None for trial in trials) < FEWEST_FOR_IMPORTANCE:
        return {}
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with suppress(ValueError, RuntimeError):
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        return {name.removeprefix(SET).removeprefix(CONSTANT): share for name, share in shares.items()}
    return {}


STATUS = {"keep": "keep", "discard": "discard", "crash": "crash", "unranked": "discard"}


def append_results(path: Path, tag: str, point: Point, ended: Ended) -> None:
    """A line for every run of a point, unless it is there."""
    known = set(path.read_text().splitlines()) if path.exists() else set()
    if new := [line for line in results_lines(tag, point, ended) if line not in known]:
        results_tsv.append(path, *new)


def results_lines(tag: str, point: Point, ended: Ended) -> Iterable[str]:
    unranked = "not ranked: " if ended.verdict == "unranked" else ""
    for result in ended.results:
        status = STATUS[ended.verdict] if result.val_bpb is not None else "crash"
        said = f"{unranked}sweep {tag}: {point}, seed {result.seed}"
        yield results_tsv.line(result.recipe_sha, result.val_bpb, result.peak_vram_mb, status, said)
