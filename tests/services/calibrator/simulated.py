"""A calibration of a machine that is a formula: every phase is the real one, only the measuring takes no time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.calibrator.confirm import confirm
from services.calibrator.envelope import measure_envelope
from services.calibrator.envelope_model import pass_tokens
from services.calibrator.experiments import Journal
from services.calibrator.extend import extend
from services.calibrator.findings import Findings, own_table
from services.calibrator.fingerprint import fingerprint
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.noise import measure_noise
from services.calibrator.outlook import SearchInputs
from services.calibrator.pairing import measure_pairing
from services.calibrator.prior import prior
from services.calibrator.rungs import KeptCheckpoint, RungCost, RungCosts
from services.calibrator.search import search
from services.calibrator.tune import tune
from services.calibrator.work import Clock, Work
from shared.calibration.events import PlannedPhase, append_event
from shared.calibration.folder import lay_out
from shared.calibration.job import Calibration
from shared.contracts import Rung, Status, Unranked
from shared.data.dataset import open_dataset
from shared.evaluation.rungs import RUNG_TOKENS, eval_signature
from shared.experiment.presets import find_preset
from shared.files import sha256_file
from shared.quality import QualityTable, published_rows
from shared.quality.law import PRIOR_MEAN, law, points_of
from shared.quality.model_size import model_size
from shared.runs.shipped import default_recipe

PRESETS = ("m5-tiny", "m5-small", "m5-balanced", "m5-large")
START_S, FLOPS, NOISE = 6.0, 2e12, 0.004


@dataclass
class SimulatedMachine:
    """A Machine (services/calibrator/measurement.py)."""

    journal: Journal
    id: str
    vocab_size: int
    memory_mb: float
    disturbed: tuple[Unranked, ...] = ()
    """of every run that came to a number"""

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        outcome = self.journal.get(probe)
        if outcome is None:
            outcome = self._outcome(probe)
            self.journal.append(outcome)
        return outcome

    def _outcome(self, probe: Probe) -> Outcome:
        size = model_size(probe.shape, self.vocab_size)
        tokens_of_pass = pass_tokens(probe.shape)
        memory = 150 + 16 * size.num_params / 2**20 + tokens_of_pass * probe.shape.d_model * probe.shape.depth / 3500
        begun = dict(probe=probe, run_id=f"{self.id}-{probe.key}", peak_memory_mb=memory)
        if memory > 0.9 * self.memory_mb:
            return Outcome(**begun, status=Status.OUT_OF_MEMORY, reason="out of memory", wall_seconds=START_S)
        speed = FLOPS / size.flops_per_token / (1 + 1500 / tokens_of_pass)
        steps = max(1, round(probe.seconds * speed / probe.shape.total_batch_size))
        tokens = steps * probe.shape.total_batch_size
        scoring_s = RUNG_TOKENS[probe.rung] / speed / 2.5
        noise = np.random.default_rng(int(probe.key, 16)).normal(0, NOISE)
        score = float(law(PRIOR_MEAN, points_of([(probe.shape, tokens)], self.vocab_size))[0]) + 0.05 + noise
        return Outcome(
            **begun, status=Status.OK, val_bpb=score, num_tokens=tokens, num_steps=steps, tok_per_sec=speed,
            framework="torch 2.9", training_seconds=probe.seconds, startup_seconds=START_S, eval_seconds=scoring_s,
            wall_seconds=START_S + probe.seconds + scoring_s, disturbed=self.disturbed,
        )  # fmt: skip


def simulated_calibration(
    folder: Path,
    *,
    search_s: float = 500.0,
    memory_mb: float = 16_000.0,
    presets: tuple[str, ...] = PRESETS,
    disturbed: tuple[Unranked, ...] = (),
) -> tuple[Work, Findings]:
    """Needs a home with dataset `words`."""
    dataset = open_dataset("words")
    calibration = Calibration(
        mode="fast", minutes=30, presets=presets, target_seconds=300, engine="torch", device="cpu", target="cpu",
        hardware_key="cpu-simulated-4core-16gb", architecture="cpu", driver_version="Linux 6",
        framework="torch 2.13.0", memory_mb=memory_mb,
        dataset=dataset.ref, recipe_sha=sha256_file(default_recipe("torch")), eval_signature=eval_signature(),
    )  # fmt: skip
    lay_out(folder, calibration)
    journal = Journal(folder / f"probes-{calibration.machine_signature[:8]}.jsonl")
    machine = SimulatedMachine(journal, calibration.id, dataset.vocab_size, memory_mb, disturbed)
    table = QualityTable(
        published_rows(), dataset=calibration.dataset.fingerprint, vocab_size=dataset.vocab_size,
        hardware_key=calibration.hardware_key,
    )  # fmt: skip
    work = Work(calibration, folder, machine, Clock(calibration.minutes), table)
    return work, _phases(work, search_s)


def _phases(work: Work, search_s: float) -> Findings:
    names = ("fingerprint", "tune", "envelope", "prior", "search", "confirm", "checkpoint", "rungs", "noise",
             "pairing", "extend")  # fmt: skip
    plan = tuple(PlannedPhase(name=name, says=f"what {name} is for", minutes=3.0) for name in names)
    append_event(work.folder, kind="plan", spent_s=work.clock.spent_s, plan=plan)
    found = Findings()
    begin(work, "fingerprint")
    found.fingerprint = fingerprint(work)
    begin(work, "tune")
    found.tune = tune(work, 60.0)
    begin(work, "envelope")
    found.envelope = measure_envelope(work, found.tune.tuning, found.tune.tried, 600.0)
    begin(work, "prior")
    found.prior = prior(work, found.envelope.envelope, found.outcomes()).model_copy(update={"rung": Rung.CHEAP})
    begin(work, "search")
    inputs = SearchInputs(
        envelope=found.envelope.envelope, presets={name: find_preset(name).shape for name in work.calibration.presets},
        allowance_s=search_s, tuning=found.tune.tuning, vocab_size=work.vocab_size,
        starts=(found.prior.expected[0].shape,),
    )  # fmt: skip
    found.search = search(
        inputs, work.table, work.machine, work.folder, known=found.outcomes(), on_outcome=lambda one, _: work.tell(one)
    )
    begin(work, "confirm")
    found.confirm = confirm(work, found.search, found.prior, found.tune.tuning, own_table(work.table, found), 500.0)
    begin(work, "checkpoint")
    found.checkpoint = KeptCheckpoint(run_id=found.confirm.outcomes[0].run_id, num_bytes=1000)
    begin(work, "rungs")
    found.rungs = rung_costs(found)
    begin(work, "noise")
    found.noise = measure_noise(work, found.confirm, found.prior, found.tune.tuning, found.outcomes(), 400.0)
    begin(work, "pairing")
    found.pairing = measure_pairing(
        work, found.confirm, found.search, found.prior, found.tune.tuning, found.noise, found.outcomes(), 0.0
    )
    begin(work, "extend")
    found.extend = extend(
        work, found.confirm, found.prior, found.tune.tuning, found.noise, found.outcomes(),
        own_table(work.table, found), 0.0,
    )  # fmt: skip
    return found


def begin(work: Work, phase: str) -> None:
    work.phase = phase
    append_event(work.folder, kind="phase", phase=phase, says="", spent_s=work.clock.spent_s)


def rung_costs(found: Findings) -> RungCosts:
    """As the evaluator would: nobody trained weights here."""
    first = found.confirm.outcomes[0]
    cheap = RungCost(
        rung=Rung.CHEAP, num_tokens=262_144, seconds=4.0, total_seconds=9.5, val_bpb=first.val_bpb, error=0.003
    )
    reference = RungCost(
        rung=Rung.REFERENCE, num_tokens=1_572_864, seconds=16.0, total_seconds=23.0, val_bpb=first.val_bpb - 0.003,
        error=0.0,
    )  # fmt: skip
    return RungCosts(
        run_id=first.run_id, costs=(cheap, reference), left_out=("full: it would take about 240 s",),
        chosen=Rung.REFERENCE, reason="reference costs 5.33% of the budget, at most 6%",
    )  # fmt: skip
