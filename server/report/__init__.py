"""The run's report and model card: read a finished run folder, write pages a person reads."""

from server.report.model_card import write_model_card
from server.report.report import write_report

__all__ = ["write_model_card", "write_report"]
