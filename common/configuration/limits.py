"""Allowed values and ranges of the settings."""

from __future__ import annotations

from typing import Any

from common.configuration.combinations import check_combinations
from common.configuration.naming import nearest
from common.configuration.standard_scale import check_scale
from common.errors import ConfigurationError

CHOICES: dict[str, tuple[str, ...]] = {
    "task": ("classifier", "detector"),
    "imaging.harmonisation": ("none", "percentile", "local_contrast", "landmarks", "amplitude"),
    "data.unreadable": ("stop", "skip"),
    "model.norm": ("batch", "group"),
    "model.pooling": ("average", "lse"),
    "detector.lesions": ("any", "malignant"),
    "detector.suppression": ("nms", "soft"),
    "training.optimizer": ("adamw", "sgd"),
    "training.schedule": ("cosine", "constant"),
    "training.precision": ("auto", "bf16", "fp32"),
    "method.local_objective": ("plain", "proximal", "control_variates", "sharpness_aware", "ditto"),
    "method.shared_parameters": ("all", "norm_statistics_local", "norm_local", "backbone"),
    "method.site_weights": ("patients", "equal", "generalisation_gap", "worst_site", "gradient_agreement"),
    "method.server_optimizer": ("average", "momentum", "adam", "yogi"),
    "privacy.unit": ("none", "patient"),
    "privacy.engine": ("accumulated", "vectorised"),
    "privacy.accountant": ("prv", "rdp"),
    "federation.wire_dtype": ("bfloat16", "float32"),
    "federation.selection": ("validation_auc", "validation_froc", "last"),
    "evaluation.hit_rule": ("iou", "centre"),
    "evaluation.quality": ("basic", "full"),
    "evaluation.explainers": (
        "gradcam",
        "gradcam++",
        "hirescam",
        "layercam",
        "eigencam",
        "scorecam",
        "ablationcam",
        "shap",
        "expected_gradients",
    ),
    "baselines": ("local", "pooled"),
    "phantom.shifts": ("appearance", "scale", "prevalence", "labels", "structure"),
}

RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**31 - 1),
    "imaging.version": (1, 1_000_000),
    "imaging.height": (32, 8192),
    "imaging.width": (32, 8192),
    "imaging.spacing_mm": (0.02, 5.0),
    "data.validation_fraction": (0.0, 0.9),
    "data.test_fraction": (0.0, 0.9),
    "data.fold": (1, 100),
    "data.minimum_patients": (1, 1_000_000),
    "model.lse_sharpness": (0.1, 100.0),
    "model.dropout": (0.0, 0.95),
    "model.frozen_stages": (0, 8),
    "detector.smallest_mm": (0.5, 200.0),
    "detector.largest_mm": (1.0, 300.0),
    "detector.frame_mm": (20.0, 500.0),
    "detector.channels": (8, 1024),
    "detector.tower_convolutions": (1, 4),
    "detector.lesion_share": (0.01, 0.99),
    "detector.suppression_overlap": (0.0, 1.0),
    "detector.minimum_score": (0.0, 0.99),
    "detector.maximum_detections": (1, 1000),
    "training.local_epochs": (1, 1000),
    "training.batch_size": (1, 4096),
    "training.learning_rate": (1e-8, 10.0),
    "training.head_learning_rate_factor": (1e-3, 1e3),
    "training.weight_decay": (0.0, 10.0),
    "training.momentum": (0.0, 0.999),
    "training.warmup_rounds": (0, 1000),
    "training.fix_statistics_after": (0, 100_000),
    "training.threads": (0, 1024),
    "training.augmentation.rotation_degrees": (0.0, 180.0),
    "training.augmentation.scale": (0.0, 0.9),
    "training.augmentation.shift": (0.0, 0.5),
    "training.augmentation.intensity": (0.0, 1.0),
    "training.augmentation.noise": (0.0, 1.0),
    "training.augmentation.blur": (0.0, 1.0),
    "method.mu": (0.0, 1e4),
    "method.rho": (1e-6, 100.0),
    "method.personal_epochs": (0, 1000),
    "method.weight_step": (0.0, 10.0),
    "method.kappa": (0.0, 0.99),
    "method.server_learning_rate": (1e-4, 100.0),
    "method.server_momentum": (0.0, 0.999),
    "method.server_second_moment": (0.0, 0.9999),
    "method.server_tau": (1e-8, 1.0),
    "method.central_clip_norm": (1e-6, 1e6),
    "method.central_noise_multiplier": (0.0, 1e4),
    "privacy.epsilon": (0.05, 100.0),
    "privacy.noise_multiplier": (0.0, 1000.0),
    "privacy.delta": (1e-12, 0.1),
    "privacy.clip_norm": (1e-6, 1e6),
    "privacy.patients_per_step": (1, 100_000),
    "privacy.augmentations": (1, 64),
    "federation.rounds": (1, 100_000),
    "federation.quorum": (0.0, 1.0),
    "federation.joining_seconds": (0.0, 1e7),
    "federation.deadline_seconds": (1.0, 1e7),
    "federation.maximum_update_norm": (1e-6, 1e12),
    "federation.maximum_norm_ratio": (1.0, 1e12),
    "federation.keep_checkpoints": (1, 100_000),
    "evaluation.confidence": (0.5, 0.9999),
    "evaluation.bootstrap_samples": (10, 1_000_000),
    "evaluation.specificity": (0.01, 0.999),
    "evaluation.hit_overlap": (0.01, 1.0),
    "evaluation.gallery": (0, 1000),
    "evaluation.explain_every": (0, 1_000_000),
    "evaluation.explained": (0, 1_000_000),
    "evaluation.background": (1, 10_000),
    "phantom.exams": (1, 1_000_000),
    "phantom.unseen_exams": (1, 1_000_000),
    "phantom.severity": (0.0, 2.0),
    "phantom.dataset_seed": (0, 2**31 - 1),
    "phantom.rows": (128, 8192),
}


def check_values(flat: dict[str, Any]) -> None:
    """Refuse values outside their choices or ranges.

    Args:
        flat: dotted key to value.

    Raises:
        ConfigurationError: naming the key, the value and what is allowed.
    """
    for key, choices in CHOICES.items():
        for value in flat[key] if isinstance(flat.get(key), list) else [flat.get(key, choices[0])]:
            if value not in choices:
                guess = nearest(str(value), list(choices))
                hint = f"did you mean '{guess}'? " if guess else ""
                raise ConfigurationError(
                    f"'{value}' is not a value of {key}", where=key, do=f"{hint}choose one of: {', '.join(choices)}"
                )
    for key, (low, high) in RANGES.items():
        value = flat.get(key)
        if value is not None and not low <= value <= high:
            raise ConfigurationError(f"{key} = {value} is out of range", where=key, do=f"choose {low:g} to {high:g}")
    if not flat.get("evaluation.explainers", True):
        raise ConfigurationError(
            "there is no explainer to draw the gallery with",
            where="evaluation.explainers",
            do=f"name at least one of: {', '.join(CHOICES['evaluation.explainers'])}",
        )
    if flat.get("data.validation_fraction", 0) + flat.get("data.test_fraction", 0) >= 1:
        raise ConfigurationError(
            "validation and test fractions leave nothing to train on",
            where="data.validation_fraction, data.test_fraction",
            do="choose fractions whose sum is below 1",
        )
    if flat.get("data.fold", 1) > 1 and flat["data.fold"] * flat["data.test_fraction"] > 1.0 + 1e-9:
        raise ConfigurationError(
            f"with a test share of {flat['data.test_fraction']:g} there is no fold {flat['data.fold']}",
            where="data.fold, data.test_fraction",
            do="choose a smaller fold, or a smaller share",
        )
    if flat.get("detector.smallest_mm", 0) >= flat.get("detector.largest_mm", 1):
        raise ConfigurationError(
            "the smallest lesions are as large as the largest",
            where="detector.smallest_mm, detector.largest_mm",
            do="choose the smaller side first",
        )
    if flat.get("privacy.unit") == "patient":
        budgets = [flat.get(f"privacy.{name}") for name in ("epsilon", "noise_multiplier")]
        if budgets.count(None) != 1:
            raise ConfigurationError(
                "private training needs either a budget or a noise level"
                + ("" if None in budgets else ", and both are set"),
                where="privacy.epsilon, privacy.noise_multiplier",
                do="set one of the two, e.g. privacy.epsilon=8",
            )
    if flat.get("method.central_noise_multiplier") and flat.get("method.central_clip_norm") is None:
        raise ConfigurationError(
            "noise at the server is a multiple of a norm that is not set",
            where="method.central_noise_multiplier",
            do="set method.central_clip_norm, or method=dp-fedavg",
        )
    if flat.get("method.central_clip_norm") is not None and flat.get("method.site_weights") != "equal":
        raise ConfigurationError(
            "where updates are clipped at the server, all sites must weigh the same",
            where="method.site_weights",
            do="set method.site_weights=equal: a heavier site would move the mean by more than the noise covers",
        )
    if flat.get("federation.selection") == "validation_froc" and flat.get("task") != "detector":
        raise ConfigurationError(
            "only a detector has a FROC curve", where="federation.selection", do="choose validation_auc or last"
        )
    if flat.get("imaging.standard_scale"):
        _check_scale(str(flat.get("imaging.harmonisation")), flat["imaging.standard_scale"])
    check_combinations(flat)


def _check_scale(method: str, scale: list[float]) -> None:
    try:
        check_scale(method, scale)
    except ValueError as error:
        raise ConfigurationError(
            f"imaging.harmonisation={method}: {error}",
            where="imaging.standard_scale",
            do="leave imaging.standard_scale to the coordinator",
        ) from error
