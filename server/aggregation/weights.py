"""How much each site's update counts."""

from __future__ import annotations


def site_weight(rule: str, patients: int) -> float:
    """Weight of one site, before normalisation over the sites that took part.

    Args:
        rule: ``patients`` (n_k, FedAvg: McMahan et al. 2017) or ``equal`` (1).
        patients: training patients of the site, at least 1.

    Raises:
        ValueError: unknown rule or no patients.
    """
    if patients < 1:
        raise ValueError("a site without patients has no weight")
    match rule:
        case "patients":
            return float(patients)
        case "equal":
            return 1.0
    raise ValueError(f"unknown site weights '{rule}'")
