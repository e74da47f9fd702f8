"""Fits a published model to a site that never trained: batch norm statistics of the site's own images (AdaBN)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from client.compute import choose
from client.evaluation import measure
from client.inference import BREASTS_AT_ONCE, predict
from client.site import Site, load_unlabelled
from common import progress
from common.atomic import write_bytes
from common.data.dataset import SiteData, make_batch
from common.data.manifest import UNLABELLED
from common.errors import ConfigurationError, EmptySiteError
from common.models.normalisation import fit_statistics, has_batch_norm
from common.models.published import PublishedModel
from common.packing import from_bytes, to_bytes
from common.protocol import Estimate


@dataclass(frozen=True)
class Adaptation:
    """The file that was written, on how many breasts its statistics rest, and AUC before and after, if it is known."""

    file: Path
    breasts: int
    tested: int
    before: Estimate
    after: Estimate


def adapt(site: Site, published: PublishedModel, source: Path, out: Path | None = None) -> Adaptation:
    """Write a model whose batch norm statistics are those of this site's images.

    No label is used. Test patients are left out where they are labelled and of both classes; on them the AUC
    is measured before and after.

    Args:
        site: whose images; labels in its manifest may be empty.
        published: the model; changed in place.
        source: its file.
        out: where to write; by default ``models/`` of the site's state folder.

    Raises:
        ConfigurationError: the network has no batch normalisation.
        EmptySiteError: there are none but labelled test patients.
        StorageError: the file cannot be written; an earlier one is intact.
        XaiFederationError: the site's images cannot be used, by name.
    """
    if not has_batch_norm(published.model):
        raise ConfigurationError(
            "the network has no batch normalisation whose statistics could be fitted",
            where=str(source),
            do="use the model as it is, or publish one that was trained with model.norm=batch",
        )
    task = published.task
    data = load_unlabelled(site, task)
    test = _labelled(data.of_split("test"))
    measurable = len(set(test.targets.tolist())) == 2
    chosen = [index for index, item in enumerate(data.breasts) if not (measurable and item.split == "test")]
    if not chosen:
        raise EmptySiteError(
            f"every patient of site {site.name} is a test patient: there are no images to take statistics of",
            where=str(site.data),
            do="leave the column split of the manifest empty, or empty their labels: then all images are used",
        )
    before = _auc(published, test, site) if measurable else Estimate(None)
    compute = choose(task.training)
    # as many breasts in every batch, and neighbours of the manifest apart: batches weigh the same
    count = max(1, round(len(chosen) / BREASTS_AT_ONCE))
    compute.place_model(published.model)
    with progress.track(f"{site.name}: statistics", count) as advance, compute.autocast():

        def batches() -> Iterator[torch.Tensor]:
            for start in range(count):
                yield compute.place(make_batch(data, chosen[start::count]).images)
                advance(1)

        fit_statistics(published.model, batches())
    published.model.to("cpu")
    after = _auc(published, test, site) if measurable else Estimate(None)
    metadata = from_bytes(source.read_bytes())[1]
    metadata.pop("digest")
    metadata |= {"adapted_to": site.name, "adapted_from": published.digest}
    file = out or site.state / "models" / f"{source.stem}-{published.digest[:12]}-adapted.safetensors"
    write_bytes(file, to_bytes(published.model.state_dict(), metadata))
    return Adaptation(file, len(chosen), len(test.breasts) if measurable else 0, before, after)


def _labelled(data: SiteData) -> SiteData:
    return data.only([index for index, item in enumerate(data.breasts) if item.label != UNLABELLED])


def _auc(published: PublishedModel, test: SiteData, site: Site) -> Estimate:
    logits = predict(published.model, test, published.task.training, f"{site.name}: test patients")
    return measure(test, logits + published.prior_log_odds, published.task.evaluation, seed=0).auc


def describe(found: Adaptation) -> str:
    """For the terminal."""
    lines = [f"statistics of {found.breasts} breasts"]
    if found.tested:
        lines.append(f"AUC on {found.tested} test breasts: before {_text(found.before)}, after {_text(found.after)}")
    else:
        lines.append("nothing measured: the test patients are not labelled, or all of one class")
    return "\n".join([*lines, f"adapted model: {found.file}"])


def _text(found: Estimate) -> str:
    if found.value is None or found.low is None or found.high is None:
        return "not defined"
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
