"""services/trainer/measured.py: what a training run was, as a record, however it ended."""

from dataclasses import fields

import pytest

from services.trainer.measured import Measured
from shared.contracts import Choice, Integrity, Status, TrainingRecord

SAID_AT_THE_END = {"status", "reason", "void"}


def test_every_field_of_the_record_is_measured_or_said_at_the_end():
    assert {field.name for field in fields(Measured)} == set(TrainingRecord.model_fields) - SAID_AT_THE_END


def test_a_run_that_ended_before_anything_was_known_has_the_record_of_nothing():
    nothing = TrainingRecord(status=Status.CANCELLED, reason="cancelled by SIGTERM")
    assert Measured().record(Status.CANCELLED, "cancelled by SIGTERM") == nothing


@pytest.mark.parametrize(("name", "forged"), [("num_steps", 2**60), ("peak_vram_mb", -1.0), ("last_loss", "low")])
def test_a_forged_number_is_rejected_and_what_the_supervisor_saw_is_kept(name, forged):
    measured = Measured(
        training_seconds=12.5, integrity=Integrity.FULL, choices=[Choice(what="a", chosen="b", reason="c")]
    )
    measured.num_params = 7
    setattr(measured, name, forged)
    record = measured.record(Status.OK, "")
    assert (record.status, record.num_params) == (Status.REJECTED, None)
    assert f"{name} = {forged}" in record.reason
    assert (record.training_seconds, record.integrity, len(record.choices)) == (12.5, Integrity.FULL, 1)
