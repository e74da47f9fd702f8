"""What of a run's figures is not of the published model alone: sites' own layers, and their personal models."""

from __future__ import annotations

from dataclasses import dataclass

from common.protocol import Estimate
from server.report.run_folder import Run

KEPT = {
    "norm_statistics_local": "its own batch norm statistics",
    "norm_local": "its own batch norm layers",
    "backbone": "its own layers outside the backbone",
}


@dataclass(frozen=True)
class PersonalModel:
    """AUC of a site's personal model beside that of the common one, on the same patients."""

    site: str
    personal: Estimate
    common: Estimate


def own_layers(run: Run) -> str:
    """What a reader must know of the training sites' figures; empty where all sites use the published model."""
    kept = KEPT.get(run.config.method.shared_parameters)
    if kept is None:
        return ""
    return (
        f"Each training site was measured with {kept}, which are not in model.safetensors: that file holds their mean, "
        "with which unseen sites were measured. Elsewhere fit it first: xai-client adapt."
    )


def personal_models(run: Run) -> list[PersonalModel]:
    """Of the training sites that have one."""
    found = [(site, run.report_of(site)) for site in run.trained()]
    return [
        PersonalModel(site, report.personal.auc, report.auc)
        for site, report in found
        if report is not None and report.personal is not None
    ]
