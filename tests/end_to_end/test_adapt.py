"""``xai-client adapt``: a published model gets the statistics of a site's images, whatever is known of their labels."""

import csv

import pytest
import torch
from typer.testing import CliRunner

from client.cli import app
from client.evaluation import measure
from client.inference import predict
from client.site import Site, load_site
from common.configuration import load_run
from common.models.published import read_published
from common.packing import from_bytes
from server.initial import initial_model
from server.publish import write_model


def call(data, state, *arguments):
    options = ["--site", "UNSEEN", "--state", str(state), "adapt", "--data", str(data)]
    return CliRunner().invoke(app, [*options, *map(str, arguments)])


def rewrite(site, **columns):
    """Fill columns of a manifest with one value."""
    file = site / "manifest.csv"
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **columns} for row in rows)


@pytest.fixture(scope="module")
def adapted(phantom, untrained, tmp_path_factory):
    state = tmp_path_factory.mktemp("state")
    result = call(phantom / "UNSEEN", state, "--model", untrained)
    assert result.exit_code == 0, result.output
    (file,) = (state / "models").iterdir()
    return file, result.output, state


def test_statistics_change_and_parameters_stay(untrained, adapted):
    (before, told), (after, tells) = (from_bytes(file.read_bytes()) for file in (untrained, adapted[0]))
    changed = {name.rpartition(".")[2] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}
    assert tells["adapted_to"] == "UNSEEN" and tells["adapted_from"] == read_published(untrained).digest
    assert tells["task"] == told["task"] and tells["prior_log_odds"] == told["prior_log_odds"]


def test_the_auc_after_is_that_of_the_file_that_was_written(phantom, adapted):
    file, output, state = adapted
    published, site = read_published(file), Site("UNSEEN", phantom / "UNSEEN", state)
    test = load_site(site, published.task).of_split("test")
    logits = predict(published.model, test, published.task.training, "again")
    expected = measure(test, logits, published.task.evaluation, 0).auc.value
    assert f"after {expected:.3f} [" in output
    assert f"AUC on {len(test.breasts)} test breasts" in output


def test_no_label_is_needed_and_none_is_used(own_phantom, untrained, adapted, tmp_path):
    """With no labels nothing is measured, and the test patients' images serve the statistics too."""
    rewrite(own_phantom / "UNSEEN", label="", boxes="")
    out = tmp_path / "adapted.safetensors"
    result = call(own_phantom / "UNSEEN", tmp_path / "state", "--model", untrained, "--out", out)
    assert result.exit_code == 0, result.output
    assert "nothing measured" in result.output and str(out) in result.output
    statistics = [from_bytes(path.read_bytes())[0]["backbone.bn1.running_mean"] for path in (out, adapted[0])]
    torch.testing.assert_close(*statistics, rtol=0.2, atol=0.05)


def test_with_nothing_but_test_patients_it_says_so(own_phantom, untrained, tmp_path):
    rewrite(own_phantom / "UNSEEN", split="test")
    result = call(own_phantom / "UNSEEN", tmp_path / "state", "--model", untrained)
    assert result.exit_code == 16 and "every patient of site UNSEEN is a test patient" in result.output


def test_a_network_without_batch_norm_is_refused(phantom, tmp_path):
    model, config = tmp_path / "group.safetensors", load_run("tiny", ["model.norm=group"])
    write_model(model, initial_model(config).state_dict(), config, 1, 0.0)
    result = call(phantom / "UNSEEN", tmp_path / "state", "--model", model)
    assert result.exit_code == 2
    assert "no batch normalisation" in result.output and not (tmp_path / "state" / "models").exists()
