"""Minutes by phase, from the events; and which phases there was not enough time for."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from services.calibrator.measurement import disturbance
from services.calibrator.report.contract import PhaseReport
from services.calibrator.report.subject import Subject
from shared.calibration.events import Event, read_events


def phases_of(subject: Subject) -> tuple[PhaseReport, ...]:
    """In the order in which they were worked on; those that take no time of their own too."""
    events = of_this_calibration(read_events(subject.folder)[0])
    plan = {phase.name: phase for event in events if event.kind == "plan" for phase in event.plan}
    begun = {event.phase: event.says for event in events if event.kind in ("phase", "reused")}
    seconds = seconds_by_phase(events, subject.work.clock.spent_s)
    probes = Counter(event.phase for event in events if event.kind == "probe")
    worked = {event.phase for event in events if event.kind == "phase"}
    return tuple(
        PhaseReport(
            phase=name,
            says=plan[name].says if name in plan else says,
            planned_minutes=plan[name].minutes if name in plan else 0.0,
            minutes=seconds.get(name, 0.0) / 60,
            num_probes=probes[name],
            reused=name not in worked,
            cut_short=tuple(CUT_SHORT[name](subject)) if name in CUT_SHORT else (),
            sources=subject.events_file(),
        )
        for name, says in begun.items()
    )


def of_this_calibration(events: Sequence[Event]) -> Sequence[Event]:
    """Since the one before was finished; of all processes that worked on it."""
    ends = [place for place, event in enumerate(events) if event.kind == "finished"]
    return events[ends[-1] + 1 :] if ends else events


def seconds_by_phase(events: Sequence[Event], now_s: float) -> dict[str, float]:
    """Time after an event belongs to its phase; before the plan of another process nobody worked."""
    found: defaultdict[str, float] = defaultdict(float)
    ends = [(event.kind, event.spent_s) for event in events[1:]] + [("", now_s)]
    for event, (next_kind, end_s) in zip(events, ends, strict=False):
        if event.kind not in ("plan", "reused") and next_kind != "plan":
            found[event.phase] += max(0.0, end_s - event.spent_s)
    return found


def _tune(subject: Subject) -> list[str]:
    left_out = subject.tuned.left_out
    return [f"not tried: {'; '.join(left_out)}"] if left_out else []


def _envelope(subject: Subject) -> list[str]:
    families = subject.envelope.envelope.families
    inferred = [family.preset for family in families if family.inferred]
    failed = [family.preset for family in families if not family.inferred and not family.largest_pass_tokens]
    said = [f"without probes of their own: {', '.join(inferred)}"] if inferred else []
    return said + ([f"no probe came to a number: {', '.join(failed)}"] if failed else [])


def _search(subject: Subject) -> list[str]:
    search = subject.search
    disturbed = disturbance(search.outcomes)
    said = [f"{disturbed}, and each counts only where its shape has no other"] if disturbed else []
    if search.stopped == "sure":
        return said
    if not search.ranked:
        return [*said, "no shape was ranked"]
    why = {"allowance": "its minutes were spent", "exhausted": "there was nothing left to try"}.get(search.stopped, "")
    return [*said, f"{why or 'it did not end'}; the first is the best with probability {search.sure:.0%}"]


def _confirm(subject: Subject) -> list[str]:
    confirm = subject.confirm
    if not confirm.runs:
        return [confirm.reason]
    failed = sum(not outcome.is_ok for outcome in confirm.outcomes)
    said = [f"{failed} of {len(confirm.runs)} runs came to no number"] if failed else []
    if confirm.seconds < subject.target_s:
        said.append(f"runs of {confirm.seconds:g} s instead of {subject.target_s:g} s")
    return said


def _checkpoint(subject: Subject) -> list[str]:
    kept = subject.found.checkpoint
    return [kept.reason] if kept and kept.reason else []


def _rungs(subject: Subject) -> list[str]:
    return list(subject.rungs.left_out) or ([] if subject.rungs.costs else ["no weights were there to score"])


def _noise(subject: Subject) -> list[str]:
    floor = subject.noise.floor
    disturbed = disturbance(subject.noise.outcomes)
    return [subject.noise.reason] if floor is None or floor.weak or disturbed else []


def _pairing(subject: Subject) -> list[str]:
    paired = subject.found.pairing
    return [paired.reason] if paired and paired.pairing is None else []


CUT_SHORT: dict[str, Callable[[Subject], list[str]]] = {
    "tune": _tune,
    "envelope": _envelope,
    "search": _search,
    "confirm": _confirm,
    "checkpoint": _checkpoint,
    "rungs": _rungs,
    "noise": _noise,
    "pairing": _pairing,
}
