"""Events of a calibration outlive whoever is killed while writing one."""

from shared.calibration.events import append_event, events_file, read_events


def test_an_event_after_a_line_that_was_cut_short_is_not_lost(tmp_path):
    append_event(tmp_path, kind="note", says="before", spent_s=1.0)
    with open(events_file(tmp_path), "ab") as file:
        file.write(b'{"at": "2026-01-01T00:0')
    append_event(tmp_path, kind="note", says="after", spent_s=2.0)
    events, _ = read_events(tmp_path)
    assert [event.says for event in events] == ["before", "after"]
