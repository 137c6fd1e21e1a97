"""Minutes of phases, from events of processes that ended well, were killed, or found everything done."""

from datetime import UTC, datetime

from services.calibrator.report.phases import of_this_calibration, seconds_by_phase
from shared.calibration.events import Event


def event(kind: str, spent_s: float, phase: str = "") -> Event:
    return Event(at=datetime.now(UTC), kind=kind, spent_s=spent_s, phase=phase)


def test_time_belongs_to_the_phase_that_was_begun_last():
    events = [
        event("plan", 0), event("phase", 1, "tune"), event("probe", 9, "tune"), event("phase", 11, "search"),
        event("note", 30, "search"),
    ]  # fmt: skip
    assert seconds_by_phase(events, now_s=41) == {"tune": 10, "search": 30}


def test_what_a_killed_process_spent_counts_up_to_its_last_event():
    events = [
        event("plan", 0), event("phase", 1, "search"), event("probe", 20, "search"),
        event("plan", 20), event("reused", 21, "tune"), event("phase", 22, "search"), event("probe", 50, "search"),
    ]  # fmt: skip
    assert seconds_by_phase(events, now_s=52) == {"search": 19 + 30}


def test_making_the_report_is_no_part_of_the_last_phase():
    events = [event("plan", 0), event("phase", 1, "noise"), event("note", 5, "report")]
    assert seconds_by_phase(events, now_s=11) == {"noise": 4, "report": 6}


def test_minutes_of_an_earlier_calibration_in_the_folder_do_not_count():
    events = [event("plan", 0), event("phase", 1, "tune"), event("finished", 90), event("plan", 0)]
    assert [one.kind for one in of_this_calibration(events)] == ["plan"]


def test_no_events_are_no_minutes():
    assert seconds_by_phase([], now_s=5) == {}
