"""A model's answers about single breasts or images, as files of the comparison. Only here: no site sends them."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from client.detection.reading import read_images, read_site
from client.inference import predict
from client.participation import with_own_layers
from client.site import Site, load_site
from common.atomic import write_bytes
from common.configuration import RunConfig, read_run, task_of, to_yaml
from common.data.dataset import SiteData
from common.errors import CheckpointError, WireError
from common.metrics.paired import Answers, Folded
from common.metrics.paired_froc import Found, found_in
from common.models.detector import MassDetector
from common.models.network import Network, build_network
from common.packing import from_bytes
from common.protocol import EvaluateTask
from server.history import last_accepted, read_history
from server.identity import identity

BySite = dict[str, Answers | Found]
BySiteOfFolds = dict[str, Answers | Found | Folded]
_PARTS: dict[type[Answers | Found], tuple[str, ...]] = {
    kind: tuple(part.name for part in fields(kind)) for kind in (Answers, Found)
}


def write_answers(path: Path, answers: BySite) -> None:
    """Write a ``.npz``, atomically.

    Of a classifier ``SITE/patients``, ``SITE/targets`` and ``SITE/scores`` (logits); of a detector the parts of
    :class:`common.metrics.paired_froc.Found`.
    """
    stream = io.BytesIO()
    arrays = {f"{site}/{part}": getattr(found, part) for site, found in answers.items() for part in _PARTS[type(found)]}
    np.savez_compressed(stream, **arrays)
    write_bytes(path, stream.getvalue())


def read_answers(path: Path) -> BySite:
    """Read what :func:`write_answers` wrote.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            sites = list(dict.fromkeys(name.rpartition("/")[0] for name in arrays.files))
            kinds = {site: Found if f"{site}/hit" in arrays.files else Answers for site in sites}
            return {site: kind(*(arrays[f"{site}/{part}"] for part in _PARTS[kind])) for site, kind in kinds.items()}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise CheckpointError(
            f"the answers of a model cannot be read: {error}", where=str(path), do="delete the file and call again"
        ) from error


def only_of(answers: Answers | Found, patients: npt.NDArray[np.str_]) -> Answers | Found:
    """The answers about some of the patients."""
    if isinstance(answers, Found):
        return answers.of(patients)
    kept = np.isin(answers.patients, patients)
    return Answers(answers.patients[kept], answers.targets[kept], answers.scores[kept])


def of_folds(parts: Sequence[BySite]) -> BySiteOfFolds:
    """The answers of the folds' models together, for the sites that all of them answer about."""
    if len(parts) == 1:
        return dict(parts[0])
    sites = [site for site in parts[0] if all(site in part for part in parts)]
    return {site: Folded(tuple(part[site] for part in parts)) for site in sites}


def answers_of(model: Network, data: SiteData, config: RunConfig, name: str) -> Answers | Found:
    """A classifier's logit of every breast in ``data``; a detector's marks in the images whose lesions are known."""
    if isinstance(model, MassDetector):
        reading = read_site(model, data, config, f"{name}: {data.site}")
        rules = config.evaluation
        return found_in(read_images(data, reading.views), rules.hit_rule, rules.hit_overlap)
    patients = np.array([breast.patient_id for breast in data.breasts], dtype=np.str_)
    return Answers(patients, data.targets, predict(model, data, config.training, f"{name}: {data.site}"))


def tested(site: Site, config: RunConfig, split: str) -> SiteData:
    """The patients of a site that all models are compared on: its ``test`` patients, or ``all`` of them."""
    data = load_site(site, config)
    return data if split == "all" else data.of_split(split)


def answers_of_run(folder: Path, splits: dict[str, str]) -> tuple[BySite, BySite]:
    """Answers of a finished run's published model, and of its sites' personal models where the method has them.

    A site that keeps layers of its own answers with those of the published round, as it did when it was measured.

    Args:
        folder: of the run.
        splits: for each site that is compared, which of its patients.

    Raises:
        SiteStateError: what a site kept is missing.
        XaiFederationError: of reading the run, by name.
    """
    config, records = read_run(folder / "config.yaml"), read_history(folder / "rounds.jsonl")
    number = json.loads((folder / "evaluation.json").read_text())["round"]
    order = EvaluateTask(to_yaml(task_of(config)), number, config.seed, "test", run=identity(folder))
    data = (folder / json.loads((folder / "simulation.json").read_text())["data"]).resolve()
    common: BySite = {}
    own: BySite = {}
    for name, split in splits.items():
        site = Site(name, data / name, folder / "sites" / name)
        model, part = _published(folder / "model.safetensors", config), tested(site, config, split)
        asked = replace(order, continues=last_accepted(records[:number], name))
        personal = with_own_layers(site, asked, config, model)
        common[name] = answers_of(model, part, config, "comparing")
        if personal is not None:
            own[name] = answers_of(personal.eval(), part, config, "comparing personal models")
    return common, own


def _published(path: Path, config: RunConfig) -> Network:
    model = build_network(config, seed=0)
    try:
        model.load_state_dict(from_bytes(path.read_bytes())[0])
    except (OSError, WireError, RuntimeError) as error:
        raise CheckpointError(
            f"the run's published model cannot be read: {error}", where=str(path), do="delete the run's folder"
        ) from error
    return model.eval()
