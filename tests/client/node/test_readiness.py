"""A node looks at its data before it connects: once, and again only when something has changed."""

import json
import os
import shutil
import threading
from dataclasses import asdict, replace

import pytest
import yaml

from client.node.examining import examine_if_changed, state_of
from client.node.home import SiteHome
from client.node.readiness import Readiness, accepted_findings, make_ready, read_readiness
from client.site import Site
from common import audit
from common.configuration import load_task
from common.errors import MissingColumnError, PreflightError
from simulations.phantom.dataset import write_site


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return write_site("TUH", 10, tmp_path_factory.mktemp("hospitals"), rows=128, workers=1).parent


@pytest.fixture
def home(tmp_path, archive):
    data = shutil.copytree(archive, tmp_path / "data")
    settings = {"site": "TUH", "federation": "f", "address": "a:1", "data": str(data), "code": "x"}
    state = tmp_path / "state"
    state.mkdir()
    (state / "site.yaml").write_text(yaml.safe_dump(settings))
    return SiteHome(state)


def site_of(home):
    return Site("TUH", home.folder.parent / "data", home.folder)


def examined(home, **stopping):
    """As if the data, as they are, had been examined."""
    found = Readiness(state_of(site_of(home), load_task(None)), ["10 patients"], stopping, "preflight.html")
    home.readiness_file.parent.mkdir(exist_ok=True)
    home.readiness_file.write_text(json.dumps(asdict(found)))
    return found


def ready(home, *, accept=False):
    return make_ready(home, "TUH", threading.Event(), accept=accept)


def test_every_change_that_matters_is_seen_and_nothing_else(home):
    site, task = site_of(home), load_task(None)
    before = state_of(site, task)
    image = sorted((site.data / "dicom").iterdir())[0]
    (site.data / "notes.txt").write_text("not ours")
    assert state_of(site, task) == before
    seen = {before}
    for change in (
        lambda: image.write_bytes(image.read_bytes()[:-1] + b"x"),
        lambda: os.utime(image, ns=(1, 1)),
        image.unlink,
        lambda: (site.data / "manifest.csv").write_text((site.data / "manifest.csv").read_text() + "\n"),
    ):
        change()
        seen.add(state_of(site, task))
    seen.add(state_of(site, replace(task, imaging=replace(task.imaging, height=128))))
    assert len(seen) == 6


def test_unchanged_data_are_not_examined_again_however_the_node_ended(home):
    found = examined(home)
    assert ready(home)
    assert ready(home)
    assert read_readiness(home) == found
    assert not (home.folder / "cache").exists()


def test_findings_that_stop_training_stop_the_node_until_they_are_accepted_as_far_as_they_go(home, caplog):
    caplog.set_level("INFO")
    examined(home, unreadable=2)
    with pytest.raises(PreflightError, match="TUH is not ready: unreadable") as stopped:
        ready(home)
    assert stopped.value.exit_code == 40
    assert "--accept-findings" in str(stopped.value)
    assert ready(home, accept=True)
    assert accepted_findings(home) == {"unreadable": 2}
    assert [(entry.event, entry.details) for entry in audit.read(home.audit)] == [
        ("findings accepted", {"unreadable": 2})
    ]
    assert ready(home)
    assert "findings that were accepted: unreadable" in caplog.text
    examined(home, unreadable=3)
    with pytest.raises(PreflightError, match="unreadable"):
        ready(home)
    examined(home, unreadable=1, disk=1)
    with pytest.raises(PreflightError, match="TUH is not ready: disk"):
        ready(home)


def test_an_examination_that_cannot_be_made_ends_with_its_own_error(home, capfd):
    manifest = home.folder.parent / "data" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("laterality", "side", 1))
    with pytest.raises(MissingColumnError, match="could not be examined"):
        ready(home)
    assert "laterality" in capfd.readouterr().err


def test_asked_to_stop_the_node_does_not_wait_for_the_examination(home):
    stopping = threading.Event()
    stopping.set()
    assert not make_ready(home, "TUH", stopping, accept=False)
    assert read_readiness(home) is None


@pytest.mark.slow
def test_a_damaged_file_is_found_and_after_it_was_mended_the_node_starts(home, caplog):
    caplog.set_level("INFO")
    image = sorted((home.folder.parent / "data" / "dicom").iterdir())[0]
    whole = image.read_bytes()
    image.write_bytes(b"not a picture")
    with pytest.raises(PreflightError, match="unreadable"):
        ready(home)
    assert "images that cannot be read: 1 (unreadable)" in caplog.text
    assert image.name in (home.folder / "reports" / "preflight.html").read_text()
    assert image.name not in caplog.text
    image.write_bytes(whole)
    assert ready(home)
    assert "10 patients, 10 breasts, 20 of 20 images usable; preflight: errors 0" in caplog.text
    assert examine_if_changed(home) == read_readiness(home)
