"""Runs on a scale of grey values that their sites agree on: killed and resumed, and what they are compared with."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from client.appearance import scale_of
from client.site import Site, load_site
from common.atomic import write_text
from common.configuration import load_run, read_run
from common.data.scale import as_stored
from common.errors import EmptySiteError
from server.initial import initial_model
from server.rounds import run_rounds
from simulations.baselines import run_baselines
from simulations.cli import app
from simulations.comparison.answers import read_answers
from simulations.comparison.plan import Training
from simulations.comparison.work import carry_out, prepare
from simulations.scale import with_scale_of
from tests.end_to_end.conftest import PLAIN

LANDMARKS = ["imaging.harmonisation=landmarks", "federation.rounds=2", "sites=[MCS,TUH]", "phantom.unseen=[]"]


class Killed(BaseException):
    """As SIGKILL: nobody catches it."""


@pytest.fixture
def central(monkeypatch):
    """Scale by name of every training in one place; nothing is learnt, which takes too long and is not asked about."""
    seen = {}

    def remembered(config, name, parts):
        seen[name] = config.imaging.standard_scale
        return initial_model(config)

    monkeypatch.setattr("simulations.baselines.train_centrally", remembered)
    monkeypatch.setattr("simulations.comparison.work.train_centrally", remembered)
    return seen


@pytest.fixture(scope="module")
def whole(phantom, run, tmp_path_factory):
    """Folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("landmarks") / "run"
    result = run(phantom, out, *LANDMARKS)
    assert result.exit_code == 0, result.output
    return out


def own_scale(phantom, folder, name):
    """Of a site's training images, as the site would tell it."""
    config = load_run("tiny", LANDMARKS)
    training = load_site(Site(name, phantom / name, folder / name), as_stored(config)).of_split("train")
    return scale_of(training, "landmarks", 1).values


@pytest.mark.parametrize("moment", ["after the sites were asked", "in round 2"])
def test_killed_and_resumed_a_run_on_a_common_scale_gives_the_same_bits(
    phantom, run, whole, tmp_path, monkeypatch, moment
):
    out = tmp_path / "killed"
    with monkeypatch.context() as patch:
        if moment == "in round 2":

            def rounds(federation, model):
                patch.setattr("server.rounds.checkpoints.save", killed_at_the_second(out))
                return run_rounds(federation, model)

            patch.setattr("server.app.run_rounds", rounds)
        else:

            def note_alone(path, text):
                if path.name == "config.yaml":
                    raise Killed
                write_text(path, text)

            patch.setattr("server.harmonisation.write_text", note_alone)
        with pytest.raises(Killed):
            run(phantom, out, *LANDMARKS)
    assert (out / "harmonisation.json").exists() and not (out / "model.safetensors").exists()
    settled = bool(read_run(out / "config.yaml").imaging.standard_scale)
    assert settled == (moment == "in round 2")
    result = CliRunner().invoke(app, ["resume", str(out)])
    assert result.exit_code == 0, result.output
    for name in ("model.safetensors", "harmonisation.json", "evaluation.json"):
        assert stable(out / name) == stable(whole / name), name


def killed_at_the_second(out):
    """Saves the checkpoint of round 1, and dies when that of round 2 should be saved."""
    from server.checkpoint import save

    def saved(*arguments, **named):
        if (out / "checkpoints" / "round-0001.safetensors").exists():
            raise Killed
        return save(*arguments, **named)

    return saved


def stable(path):
    """Content of a file without what tells how long something took."""
    if path.suffix != ".json":
        return path.read_bytes()
    return json.loads(path.read_text(), object_hook=lambda found: {k: v for k, v in found.items() if k != "seconds"})


def test_baselines_of_a_run_take_the_agreed_scale_and_a_site_alone_its_own(phantom, whole, tmp_path, central):
    config = replace(read_run(whole / "config.yaml"), baselines=["local", "pooled"])
    sites = {name: Site(name, phantom / name, whole / "sites" / name) for name in ("MCS", "TUH")}
    run_baselines(config, sites, {}, whole)
    agreed = config.imaging.standard_scale
    assert central["pooled"] == agreed
    for name in ("MCS", "TUH"):
        assert central[f"local-{name}"] == pytest.approx(own_scale(phantom, tmp_path, name), abs=1e-12)
        assert central[f"local-{name}"] != pytest.approx(agreed, abs=1e-3)
    assert set(json.loads((whole / "baselines.json").read_text())["local"]["MCS"]) == {"MCS", "TUH"}


def test_a_comparison_trains_its_baselines_on_the_scale_of_those_who_train(phantom, whole, tmp_path, central):
    config = load_run("tiny", [*LANDMARKS, "training.threads=1"])
    names = ("MCS", "TUH")
    for way, merged in (("local", ("TUH",)), ("pooled", names), ("oracle", ("UNSEEN",))):
        folder = tmp_path / way
        asked = tuple((name, "test") for name in (merged if way == "oracle" else names))
        training = Training(way, 0, config, phantom, folder, folder / "answers.npz", asked, merged)
        carry_out(training, tmp_path / "cache")
        assert list(read_answers(training.answers)) == [name for name, _ in asked]
    assert central["pooled seed 0"] == read_run(whole / "config.yaml").imaging.standard_scale
    for way, name in (("local", "TUH"), ("oracle", "UNSEEN")):
        assert central[f"{way} {name} seed 0"] == pytest.approx(own_scale(phantom, tmp_path, name), abs=1e-12)


def test_a_comparison_prepares_images_on_a_common_scale_before_its_trainings(phantom, tmp_path):
    """The scale that is settled beforehand is, to the bit, the one that the run's sites agree on."""
    config = load_run(
        "tiny", [*LANDMARKS, *PLAIN, "training.threads=1", "federation.rounds=1", "federation.quorum=1.0"]
    )
    config = replace(config, sites=["MCS", "TUH"], unseen=[])
    folder, cache = tmp_path / "run", tmp_path / "cache"
    asked = (("MCS", "test"), ("TUH", "test"))
    training = Training("fedavg", 0, config, phantom, folder, folder / "answers.npz", asked)
    prepare([training], cache)
    prepared = set(cache.rglob("*.npy"))
    carry_out(training, cache)
    assert prepared and set(cache.rglob("*.npy")) == prepared


def test_sites_too_small_to_tell_have_no_scale_together(phantom, tmp_path):
    config = load_run("tiny", [*LANDMARKS, "data.test_fraction=.8", "data.validation_fraction=.1"])
    sites = [Site(name, phantom / name, tmp_path / name) for name in ("MCS", "TUH")]
    with pytest.raises(EmptySiteError, match="no site has the 5 training patients"):
        with_scale_of(config, sites)
    assert with_scale_of(config, sites[:1]).imaging.standard_scale
    plain = load_run("tiny", [])
    assert with_scale_of(plain, sites) is plain
