"""One check of a site from manifest to report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from client.preflight.checks import find_all
from client.preflight.examination import Examination, examine
from client.preflight.finding import Finding, Severity
from client.preflight.inventory import Inventory, count
from client.preflight.page import render
from client.preflight.resources import Resources, measure, shortages
from client.site import Site
from common.atomic import write_text
from common.configuration import TaskConfig

REPORT, RECORD = "preflight.html", "preflight.json"


@dataclass(frozen=True)
class Preflight:
    """What a check found."""

    site: str
    inventory: Inventory
    findings: tuple[Finding, ...]
    resources: Resources
    report: Path

    @property
    def ready(self) -> bool:
        """Whether training can start."""
        return not self.count(Severity.ERROR)

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(item.severity is severity for item in self.findings)


def check(site: Site, task: TaskConfig, workers: int | None = None) -> Preflight:
    """Examine a site and write ``reports/preflight.html`` and ``preflight.json`` in its state folder.

    Args:
        site: what to look at.
        task: the run it should be ready for.
        workers: processes that prepare images; as many as there are CPUs by default.

    Raises:
        XaiFederationError: nothing of the manifest can be read, or the report cannot be written.
    """
    examined = examine(site, task, workers)
    resources = measure(examined)
    findings = tuple(
        sorted(
            [*find_all(examined), *shortages(examined, resources)],
            key=lambda item: list(Severity).index(item.severity),
        )
    )
    result = Preflight(site.name, count(examined), findings, resources, site.reports / REPORT)
    _write(result, examined)
    return result


def record(result: Preflight) -> dict[str, object]:
    """What ``--json`` prints: counts and findings without file names."""
    return {
        "site": result.site,
        "ready": result.ready,
        "inventory": asdict(result.inventory),
        "findings": [
            {
                "code": item.code,
                "severity": item.severity.value,
                "count": item.count,
                "what": item.headline,
                "meaning": item.meaning,
                "do": item.do,
            }
            for item in result.findings
        ],
        "resources": asdict(result.resources),
        "report": str(result.report),
    }


def _write(result: Preflight, examined: Examination) -> None:
    write_text(result.report, render(result.site, result.inventory, result.findings, result.resources, examined))
    full = record(result) | {
        "affected": {
            item.code: [{"file": one.file, "detail": one.detail} for one in item.affected] for item in result.findings
        }
    }
    write_text(result.report.with_name(RECORD), json.dumps(full, indent=1))
