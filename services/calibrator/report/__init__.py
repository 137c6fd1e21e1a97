"""What a calibration reports: report.json, report.md, plots, and a bundle that other machines can take over."""

from services.calibrator.report.contract import Report
from services.calibrator.report.write import write_report

__all__ = ["Report", "write_report"]
