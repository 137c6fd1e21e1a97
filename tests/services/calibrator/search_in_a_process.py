"""A search that kills itself: `python -m ...search_in_a_process DIRECTORY MOMENT NUMBER`.

MOMENT is "before" or "after" the NUMBERth measurement of this process, or "never".
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulated_machines import SimulatedMachine, simulated
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.outlook import SearchInputs
from services.calibrator.search import SearchResult, search
from shared.experiment.presets import PRESETS
from shared.quality import QualityTable

OFFERED = {name: PRESETS[name].shape for name in ("m5-tiny", "m5-small")}


@dataclass
class KeptOutcomes:
    """As the calibrator's machine: what was measured is on disk, and not measured again."""

    machine: SimulatedMachine
    directory: Path
    moment: str = "never"
    number: int = 0

    @property
    def memory_mb(self) -> float:
        return self.machine.memory_mb

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        kept = self.directory / f"{probe.key}.json"
        if kept.exists():
            return Outcome.model_validate_json(kept.read_text())
        self.number -= 1
        self._die_if("before")
        with open(self.directory / "measured.txt", "a") as log:
            log.write(f"{probe.key}\n")
        outcome = self.machine.measure(probe, limit_s)
        kept.write_text(outcome.model_dump_json())
        self._die_if("after")
        return outcome

    def _die_if(self, moment: str) -> None:
        if self.moment == moment and self.number == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run(directory: Path, moment: str = "never", number: int = 0) -> SearchResult:
    machine = KeptOutcomes(simulated("eight-cores", 3), directory, moment, number)
    inputs = SearchInputs(envelope=machine.machine.envelope(OFFERED), presets=OFFERED, allowance_s=220)
    return search(inputs, QualityTable((), "corpus", hardware_key="here"), machine, directory)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
