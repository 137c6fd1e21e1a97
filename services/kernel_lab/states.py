"""How far a candidate has come on one hardware key, read from the ledger: what is proved, and what to do next."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from services.kernel_lab.ledger import Event, EventKind, of_candidate
from services.kernel_lab.subject import Subject
from shared.kernel_lab.job import LabStatus


class State(StrEnum):
    NO_EVIDENCE = "no-evidence"
    REJECTED = "rejected"
    VERIFIED_ONLY = "verified-only"
    NOT_FASTER = "not-faster"
    READY_FOR_INTEGRATION = "ready-for-integration-test"
    VALIDATED = "integration-validated"
    MIXED = "integration-mixed"
    REGRESSED = "integration-regressed"
    DEPRIORITIZED = "trace-deprioritized"
    PROMOTED = "promoted"


NEXT = {
    State.NO_EVIDENCE: "autoresearch lab verify {candidate}",
    State.REJECTED: "correct it, then autoresearch lab verify {candidate}",
    State.VERIFIED_ONLY: "autoresearch lab bench {candidate}",
    State.NOT_FASTER: "leave it, or write a faster one: autoresearch lab init {op}",
    State.READY_FOR_INTEGRATION: "autoresearch lab integration-ab {candidate}",
    State.VALIDATED: "autoresearch lab promote {candidate}",
    State.MIXED: "autoresearch lab integration-ab {candidate} --repeats 12",
    State.REGRESSED: "leave it: the trainer is slower or learns less with it",
    State.DEPRIORITIZED: "work on another op: this one was found not to matter",
    State.PROMOTED: "nothing: recipes use it here",
}
WEIGHT = {
    State.VALIDATED: 1.5,
    State.READY_FOR_INTEGRATION: 1.0,
    State.MIXED: 0.75,
    State.VERIFIED_ONLY: 0.5,
    State.REJECTED: 0.25,
    State.NO_EVIDENCE: 0.0,
    State.PROMOTED: -0.5,
    State.NOT_FASTER: -0.5,
    State.REGRESSED: -0.75,
    State.DEPRIORITIZED: -0.75,
}
"""what a state adds to an op's share of the time when it is ranked: what is nearly done comes first"""
NOT_RELEVANT = ("low", "none")


@dataclass(frozen=True)
class Requirement:
    """One condition of a promotion."""

    what: str
    evidence: str | None
    """id of the event that meets it"""
    detail: str
    details: dict[str, Any] = field(default_factory=dict)
    """of the latest event of its kind"""

    @property
    def is_met(self) -> bool:
        return self.evidence is not None


def current(events: Sequence[Event], subject: Subject, hardware_key: str) -> list[Event]:
    """Evidence of these very bytes, judged by what judges today, on this hardware. A measurement whose size or
    opponent somebody chose, or a comparison whose preset or dataset, is for him to look at: a kernel may be faster
    there alone."""
    own = of_candidate(events, subject.sha256, hardware_key)
    return [e for e in own if e.fixed_sha256 == subject.fixed_sha256 and not e.details.get("chosen")]


def requirements(events: Sequence[Event], subject: Subject, hardware_key: str) -> tuple[Requirement, ...]:
    """What a promotion needs. The latest of a kind counts."""
    own = current(events, subject, hardware_key)
    return (
        _required(own, EventKind.VERIFY, "a PASSED verification of every size on this hardware", _is_whole),
        _required(own, EventKind.BENCH, "a measurement that is faster than the plain op, of its own size", _is_faster),
        _required_of_trainer(own),
    )


def _required_of_trainer(own: list[Event]) -> Requirement:
    what = "a validated comparison in the trainer"
    if (event := _last_comparison(own)) is not None and event.kind is EventKind.INTEGRATION_BEGUN:
        return Requirement(what, None, "the latest one was begun and came to no end: compare it again")
    return _required(own, EventKind.INTEGRATION, what, _is_validated)


def _last_comparison(own: Sequence[Event]) -> Event | None:
    """One that was begun and came to no end is what is known of it now: whoever breaks it off does not choose what
    counts."""
    kinds = (EventKind.INTEGRATION_BEGUN, EventKind.INTEGRATION)
    return next((event for event in reversed(own) if event.kind in kinds), None)


def _required(own: list[Event], kind: EventKind, what: str, holds: Any) -> Requirement:
    of_kind = [event for event in own if event.kind is kind]
    if not of_kind:
        return Requirement(what, None, "there is none")
    last = of_kind[-1]
    return Requirement(what, last.id if holds(last) else None, last.headline, last.details)


def _is_whole(event: Event) -> bool:
    is_whole = not event.details.get("quick") and not event.details.get("interpreted")
    statuses = {trace.evaluation.status for trace in event.traces}
    return event.status is LabStatus.OK and is_whole and statuses == {"PASSED"}


def _is_faster(event: Event) -> bool:
    """Inside torch.compile where that was measured, since the trainer compiles."""
    bouts = event.details.get("bouts", {})
    decisive = bouts.get("compiled") or bouts.get("eager") or {}
    return event.status is LabStatus.OK and decisive.get("verdict") == "faster"


def _is_validated(event: Event) -> bool:
    return event.status is LabStatus.OK and event.details.get("verdict") == "validated"


def state_of(events: Sequence[Event], subject: Subject, hardware_key: str, promoted: bool) -> State:
    """A review of a trace says something of the op, whatever judges it."""
    reviews = [e for e in of_candidate(events, subject.sha256, hardware_key) if e.kind is EventKind.TRACE_REVIEW]
    own = current(events, subject, hardware_key)
    last = {event.kind: event for event in (*reviews, *own)}
    if promoted:
        return State.PROMOTED
    if (integration := _last_comparison(own)) is not None and integration.kind is EventKind.INTEGRATION:
        return State(f"integration-{integration.details.get('verdict', 'mixed')}")
    if (review := last.get(EventKind.TRACE_REVIEW)) is not None and review.details.get("relevance") in NOT_RELEVANT:
        return State.DEPRIORITIZED
    if (verified := last.get(EventKind.VERIFY)) is None:
        return State.NO_EVIDENCE
    if verified.status is not LabStatus.OK:
        return State.REJECTED
    if (measured := last.get(EventKind.BENCH)) is None:
        return State.VERIFIED_ONLY
    return State.READY_FOR_INTEGRATION if _is_faster(measured) else State.NOT_FASTER


def expect_verified(events: Sequence[Event], subject: Subject, hardware_key: str) -> None:
    """ValueError when these very bytes were not found right here: they are about to run in the trainer."""
    own = [event for event in current(events, subject, hardware_key) if event.kind is EventKind.VERIFY]
    if not own or own[-1].status is not LabStatus.OK:
        raise ValueError(f"{subject.name} was not verified here as it is now: autoresearch lab verify {subject.name}")


def next_step(state: State, subject: Subject) -> str:
    return NEXT[state].format(candidate=subject.name, op=subject.op)
