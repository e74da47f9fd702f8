"""Every setting of a run, with its type, default and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field

PREPROCESSING_VERSION = 6
"""Raise it when pictures change: no site takes part in a run whose pictures are made in another way."""


@dataclass
class ImagingConfig:
    """From a file to the array a network sees; one for all sites of a run."""

    version: int = PREPROCESSING_VERSION
    """How this software prepares images: never set it, sites refuse another than their own."""
    height: int = 256
    """Rows of the network's input, pixels."""
    width: int = 192
    """Columns of the network's input, pixels."""
    spacing_mm: float | None = None
    """Resample to this pixel spacing (mm) instead of fitting the breast into the frame."""
    harmonisation: str = "local_contrast"
    """``none`` (stored range / full scale), ``percentile`` (median and spread inside the breast),
    ``local_contrast`` (the same, less the mean of the tissue nearby), ``landmarks`` (quantiles of the tissue brought to
    those of all sites) or ``amplitude`` (wide differences of brightness made as strong as those of all sites)."""
    standard_scale: list[float] = field(default_factory=list)
    """What ``landmarks`` and ``amplitude`` bring images to: the coordinator asks the sites for it before round 1 and
    writes it here; empty: not asked yet."""


@dataclass
class DataConfig:
    """How patients are split and what happens to damaged files."""

    validation_fraction: float = 0.15
    test_fraction: float = 0.25
    fold: int = 1
    """Which share of the patients is tested on: ``xai-sim cross-validate`` goes through them."""
    unreadable: str = "stop"
    """``stop`` at an unreadable image, or ``skip`` it: skipped images are counted and shown."""
    minimum_patients: int = 8
    """A site with fewer patients takes no part in a run (it is shown as left out)."""


@dataclass
class ModelConfig:
    """The network."""

    backbone: str = "resnet18"
    norm: str = "batch"
    """``batch`` or ``group``."""
    pooling: str = "average"
    """Over positions of a view: ``average`` (of features) or ``lse`` (log-sum-exp of the local scores)."""
    lse_sharpness: float = 4.0
    dropout: float = 0.0
    initial_weights: str | None = None
    """A weights file for transfer learning, or ``imagenet`` for the one of the extra ``pretrained``."""
    frozen_stages: int = 0
    """Leave the stem (1) and the first further stages (2, 3, ...) as they were initialised."""


@dataclass
class DetectorConfig:
    """The mass detector; read where ``task`` is ``detector``."""

    lesions: str = "any"
    """What it is to find: ``any`` lesion that has a box, or ``malignant`` ones alone."""
    smallest_mm: float = 5.0
    """Side of the smallest lesions' boxes: of the smallest anchors."""
    largest_mm: float = 50.0
    frame_mm: float = 200.0
    """Height of the breast in the frame, roughly, where ``imaging.spacing_mm`` is not set."""
    channels: int = 256
    """Of the feature pyramid and the towers on it."""
    tower_convolutions: int = 4
    """Depth of both towers."""
    lesion_share: float = 0.5
    """Of the breasts visited in an epoch; those with a lesion are visited again and again."""
    suppression: str = "nms"
    """Of detections that overlap: ``nms`` keeps the best, ``soft`` lowers the others' scores."""
    suppression_overlap: float = 0.2
    minimum_score: float = 0.005
    maximum_detections: int = 30
    """Of an image."""
    test_flips: bool = False
    """Look at every view a second time, upside down."""


@dataclass
class AugmentationConfig:
    """Random changes of a training batch; every strength 0 switches that change off."""

    flip: bool = True
    """Mirror top to bottom (the chest wall stays left)."""
    rotation_degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.05
    intensity: float = 0.15
    """Strength of random gain, offset and gamma-like curve."""
    noise: float = 0.03
    blur: float = 0.3
    """Probability of a mild blur."""


@dataclass
class TrainingConfig:
    """Local training at a site."""

    local_epochs: int = 1
    batch_size: int = 16
    """Breasts a batch; each brings all its views."""
    learning_rate: float = 1e-3
    head_learning_rate_factor: float = 1.0
    """The head learns this many times faster than the backbone."""
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    """``adamw`` or ``sgd``; either starts anew each round."""
    momentum: float = 0.0
    """Of ``sgd``."""
    schedule: str = "cosine"
    """Over the rounds of the run: ``cosine`` (to a tenth) or ``constant``."""
    warmup_rounds: int = 1
    fix_statistics_after: int = 0
    """After this many rounds batch normalisation keeps the global model's statistics, in training too (FixBN);
    0 = never."""
    balanced_sampling: bool = True
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    precision: str = "auto"
    """``auto`` (bf16 where the processor has it), ``bf16`` or ``fp32``."""
    threads: int = 0
    """CPU threads; 0 takes all. The result depends on the number in the last bits."""


@dataclass
class MethodConfig:
    """A federated method is a row of independent choices (docs/architecture.md)."""

    name: str = "fedavg"
    local_objective: str = "plain"
    """``plain``, ``proximal``, ``control_variates``, ``sharpness_aware`` or ``ditto``."""
    mu: float = 0.0
    """Strength of the proximal term mu/2 * ||w - w_global||^2; Ditto's lambda."""
    rho: float = 0.05
    """How far ``sharpness_aware`` looks uphill (L2 over all parameters)."""
    shared_parameters: str = "all"
    """What sites have in common: ``all``, all but their ``norm_statistics_local``, all but their ``norm_local``, or
    the ``backbone``."""
    personal_epochs: int = 0
    """At the end each site trains its own layers (``norm_local``, or all outside the ``backbone``) for so many epochs
    more, and keeps of these models, or the common one, what has the lowest loss on its validation patients; 0: none."""
    site_weights: str = "patients"
    """``patients``, ``equal``, ``generalisation_gap``, ``worst_site`` or ``gradient_agreement``."""
    weight_step: float = 0.2
    """How far ``generalisation_gap`` and ``worst_site`` move the sites' weights in a round."""
    kappa: float = 0.5
    """How far ``gradient_agreement`` may leave the mean update, as a share of its norm."""
    server_optimizer: str = "average"
    """``average``, ``momentum``, ``adam`` or ``yogi``."""
    server_learning_rate: float = 1.0
    server_momentum: float = 0.9
    """Of ``momentum``; beta1 of ``adam`` and ``yogi``."""
    server_second_moment: float = 0.99
    server_tau: float = 1e-3
    """Adaptivity of ``adam`` and ``yogi``: added to the root of the second moment, which begins at its square."""
    central_clip_norm: float | None = None
    """Largest norm (L2) of a site's update; the server shrinks longer ones. Needs ``site_weights`` ``equal``."""
    central_noise_multiplier: float = 0.0
    """Noise that the server adds to the sum of the updates, as a multiple of ``central_clip_norm``."""


@dataclass
class PrivacyConfig:
    """Differential privacy of training, for patients and not for images (docs/privacy.md)."""

    unit: str = "none"
    """``none`` (no guarantee) or ``patient``."""
    epsilon: float | None = None
    """Of the whole run at each site: each finds the noise that its own number of patients needs."""
    noise_multiplier: float | None = None
    """Instead of ``epsilon``: standard deviation of the noise as a multiple of ``clip_norm``."""
    delta: float | None = None
    """Less than one over a site's training patients; not set: a tenth of that."""
    clip_norm: float = 1.0
    """Largest norm (L2) of one patient's gradient."""
    patients_per_step: int = 16
    """Expected: every patient is drawn with the same probability, independently (Poisson sampling)."""
    engine: str = "accumulated"
    """Gradients of single patients by one backward pass each (``accumulated``) or by Opacus (``vectorised``)."""
    augmentations: int = 1
    """Augmented copies of a patient's images whose gradients are averaged before clipping (De et al. 2022)."""
    accountant: str = "prv"
    """``prv`` (tighter) or ``rdp``."""


@dataclass
class FederationConfig:
    """The round loop."""

    rounds: int = 8
    quorum: float = 0.5
    """Share of the sites whose good replies make a round count."""
    joining_seconds: float = 60.0
    """A round waits so long for a site that is not connected, then begins with a quorum of the others."""
    deadline_seconds: float = 3600.0
    """A site that has not answered by then misses the round; without a quorum by then the run pauses."""
    maximum_update_norm: float = 1e4
    """A larger update (L2) is put into quarantine."""
    maximum_norm_ratio: float = 30.0
    """So is one of more than so many times the median of the norms that were accepted in the last rounds."""
    wire_dtype: str = "bfloat16"
    """Updates travel as ``bfloat16`` or ``float32``."""
    selection: str = "validation_auc"
    """Which round's model is published: best mean ``validation_auc`` (or a detector's ``validation_froc``) over the
    sites, or the ``last``."""
    keep_checkpoints: int = 2


@dataclass
class EvaluationConfig:
    """What is measured on each site's test patients."""

    confidence: float = 0.95
    bootstrap_samples: int = 1000
    specificity: float = 0.9
    hit_rule: str = "iou"
    """A detection finds a lesion by ``iou`` (overlap of at least ``hit_overlap``) or by ``centre`` (its own lies in the
    lesion's box)."""
    hit_overlap: float = 0.2
    gallery: int = 8
    """Breasts shown with their explanation, per site."""
    explain_every: int = 0
    """Explain the new model on the validation patients after every so many rounds; 0: at the end alone."""
    explained: int = 60
    """Malignant test breasts with known boxes on which explanations are scored, per site."""
    explainers: list[str] = field(default_factory=lambda: ["hirescam", "gradcam", "shap"])
    """Explainers that are scored, by name; the first one draws the gallery."""
    quality: str = "basic"
    """At the end measure explanations by the boxes and by forgetting (``basic``), or also, much longer, by overlap,
    deletion, insertion, faithfulness, steadiness and agreement between methods (``full``)."""
    background: int = 8
    """Views of the site's training patients that ``shap`` and ``expected_gradients`` compare with."""


@dataclass
class PhantomConfig:
    """Simulated sites, used when no ``--data`` folder is given."""

    sites: list[str] = field(default_factory=lambda: ["MCS", "TUH", "RAW", "CR"])
    unseen: list[str] = field(default_factory=lambda: ["UNSEEN"])
    exams: int = 150
    """Exams of each training site."""
    unseen_exams: int = 100
    severity: float = 1.0
    """Acquisition shift: 0 = all sites use the reference machine, 1 = their own, up to 2 = exaggerated."""
    shifts: list[str] = field(default_factory=list)
    """Sites differ in these kinds alone, each scaled by ``severity``: ``appearance``, ``scale``, ``prevalence``,
    ``labels`` (wrong ones at CR), ``structure``. Empty: machines by ``severity``, populations always their own."""
    dataset_seed: int = 0
    skin_markers: list[str] = field(default_factory=list)
    """Sites at which malignant patients, and no others, wear a ring of wire on the skin: a planted shortcut."""
    rows: int = 512
    """Rows of a rendered image; columns are three quarters of it."""


@dataclass
class TaskConfig:
    """Everything a site needs to know of a run; travels to the sites and is validated there."""

    task: str = "classifier"
    imaging: ImagingConfig = field(default_factory=ImagingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)


@dataclass
class RunConfig(TaskConfig):
    """One federated run."""

    name: str = "run"
    description: str = ""
    seed: int = 0
    sites: list[str] = field(default_factory=list)
    """Only these sub-folders of ``--data``; empty = every one that has a manifest."""
    unseen: list[str] = field(default_factory=list)
    """Sites of ``--data`` that are only tested on, never trained on."""
    baselines: list[str] = field(default_factory=list)
    """Any of ``local`` (each site alone) and ``pooled`` (all data in one place)."""
    federation: FederationConfig = field(default_factory=FederationConfig)
    phantom: PhantomConfig = field(default_factory=PhantomConfig)
