"""promotion-check: may a kernel be promoted here, and what is missing? Without a kernel: what is stale is demoted.

The ledger alone decides: evidence of these very bytes on this very hardware.
"""

from dataclasses import asdict

from kernels.promotion import Promotion
from services.kernel_lab.desk import Desk, passed
from services.kernel_lab.ledger import Event, EventKind
from services.kernel_lab.promotions import all_promoted, is_promoted, promoted_here, take_back, why_stale
from services.kernel_lab.states import Requirement, next_step, requirements, state_of
from shared.kernel_lab.job import LabAnswer, LabStatus, PromotionCheck

UNKNOWN_SHA = "0" * 64


def answer(order: PromotionCheck, desk: Desk) -> LabAnswer:
    here = desk.around(order.device).hardware_key
    return _of_all(here, desk) if order.candidate is None else _of_one(order.candidate, here, desk)


def _of_one(candidate: str, here: str, desk: Desk) -> LabAnswer:
    subject, events = desk.subject(candidate), desk.ledger.read()
    needed = requirements(events, subject, here)
    state = state_of(events, subject, here, is_promoted(subject, promoted_here(here)))
    may = all(one.is_met for one in needed)
    return LabAnswer(
        command="promotion-check",
        status=passed(may),
        headline=f"{subject.name} on {here}: {state}; next: {next_step(state, subject)}",
        lines=tuple(map(_line, needed)),
        data={"state": state, "may_be_promoted": may, "requirements": [asdict(one) for one in needed],
              "hardware_key": here},
    )  # fmt: skip


def _line(one: Requirement) -> str:
    return f"- {'met' if one.is_met else 'not met'}: {one.what} ({one.detail})"


def _of_all(here: str, desk: Desk) -> LabAnswer:
    """Whoever is stale is demoted: recipes already pass it over, and the list should not say otherwise."""
    ours = [one for one in all_promoted() if one.hardware_key == here]
    stale = {one.op: why for one in ours if (why := why_stale(one))}
    for one in ours:
        if one.op in stale:
            take_back(one)
            desk.ledger.append(_demotion(one, stale[one.op]))
    kept = [one for one in ours if one.op not in stale]
    return LabAnswer(
        command="promotion-check",
        status=LabStatus.OK,
        headline=f"on {here} {len(kept)} kernels are promoted, {len(stale)} were demoted",
        lines=(
            *(f"- {one.op}: {one.kernel}, by {one.evidence}" for one in kept),
            *(f"- {op} was demoted: {why}; verify, bench and integration-ab it again" for op, why in stale.items()),
        ),
        data={"hardware_key": here, "promoted": [one.model_dump(mode="json") for one in kept], "demoted": stale},
    )


def _demotion(one: Promotion, why: str) -> Event:
    return Event(
        kind=EventKind.DEMOTE,
        status=LabStatus.OK,
        op=one.op,
        candidate=f"{one.op}/{one.kernel}",
        candidate_sha256=UNKNOWN_SHA,
        fixed_sha256=UNKNOWN_SHA,
        hardware_key=one.hardware_key,
        headline=f"{one.op}/{one.kernel} was demoted: {why}",
        details={"evidence": one.evidence},
    )
