"""One simulated calibration a session, with its report. Do not change it."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from services.calibrator.conclusion import platform_default
from services.calibrator.findings import Findings
from services.calibrator.report import Report, write_report
from services.calibrator.report.points import Points
from services.calibrator.report.subject import Subject
from services.calibrator.work import Work
from shared.experiment.platform_default import PlatformDefault
from shared.settings import settings
from tests.services.calibrator.simulated import simulated_calibration


@dataclass(frozen=True)
class Reported:
    folder: Path
    work: Work
    found: Findings
    default: PlatformDefault

    @property
    def report(self) -> Report:
        return Report.model_validate_json((self.folder / "report.json").read_bytes())

    @property
    def markdown(self) -> str:
        return (self.folder / "report.md").read_text()

    @property
    def subject(self) -> Subject:
        return Subject(self.folder, self.work, self.found, self.default)

    @property
    def points(self) -> Points:
        return Points(self.subject)


@pytest.fixture(scope="session")
def reported(prepared_home, tmp_path_factory) -> Reported:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(prepared_home))
        patch.setenv("ARE_RUNS", str(tmp_path_factory.mktemp("runs")))
        settings.cache_clear()
        folder = tmp_path_factory.mktemp("calibration")
        work, found = simulated_calibration(folder, search_s=200.0)
        default = platform_default(work, found)
        write_report(folder, work, found, default)
    settings.cache_clear()
    return Reported(folder, work, found, default)
