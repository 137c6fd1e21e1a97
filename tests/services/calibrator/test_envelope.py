"""What is on offer after a few probes of a model's speed and memory."""

import pytest

from services.calibrator.envelope import fit_family
from services.calibrator.envelope_model import Envelope, Family
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.space import Space
from shared.contracts import Status
from shared.experiment.presets import find_preset
from shared.settings import settings

TINY = find_preset("m5-tiny").shape


@pytest.fixture
def fitted(reported, prepared_home, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(prepared_home))
    settings.cache_clear()

    def fit(speeds: dict[int, float]) -> Family:
        """Speeds by rows of a pass."""
        return fit_family(reported.work, "m5-tiny", [probed(rows, speed) for rows, speed in speeds.items()])

    yield fit
    settings.cache_clear()


def probed(rows: int, tok_per_sec: float) -> Outcome:
    shape = TINY.model_copy(update={"device_batch_size": rows})
    return Outcome(
        probe=Probe(preset="m5-tiny", shape=shape, seconds=5.0), status=Status.OK, val_bpb=3.0, num_steps=3,
        num_tokens=3 * shape.total_batch_size, tok_per_sec=tok_per_sec, peak_memory_mb=700.0 + rows,
    )  # fmt: skip


def test_where_larger_passes_are_slower_the_presets_own_stay_on_offer(fitted, reported):
    """As measured on two cores: 8,688 tokens/s in passes of 4 rows, 1,999 in passes of 16, and memory for hundreds."""
    family = fitted({4: 8688.0, 16: 1999.0})
    envelope = Envelope(memory_mb=24_000, families=(family,))
    offered = Space(envelope, {"m5-tiny": TINY}, vocab_size=reported.work.vocab_size, target_s=300.0).candidates
    assert TINY in offered
    assert max(shape.device_batch_size * shape.seq_len for shape in offered) == 16 * TINY.seq_len


def test_where_larger_passes_are_faster_larger_ones_than_were_tried_are_on_offer(fitted):
    assert fitted({4: 2000.0, 16: 8000.0}).largest_pass_tokens == 4 * 16 * TINY.seq_len
