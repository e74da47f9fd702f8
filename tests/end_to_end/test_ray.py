"""The third way to carry messages: Flower's own simulation runtime."""

import importlib.util
import json

import pytest


def test_without_ray_it_is_said_what_to_install_before_anything_is_begun(phantom, run, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "ray" else found(name, *rest))
    result = run(phantom, tmp_path / "run", "--engine", "ray")
    assert result.exit_code == 2
    assert "pip install 'xai-federation[simulation]'" in result.output
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.slow
def test_a_run_with_ray_gives_the_bits_of_one_in_process(phantom, run, finished, tmp_path):
    """And so of a deployed one, which test_deployed.py compares with one in process."""
    pytest.importorskip("ray", reason="Ray is optional: pip install 'xai-federation[simulation]'")
    out = tmp_path / "run"
    result = run(phantom, out, "--engine", "ray")
    assert result.exit_code == 0, result.output
    assert json.loads((out / "simulation.json").read_text())["engine"] == "ray"
    assert (out / "model.safetensors").read_bytes() == (finished / "model.safetensors").read_bytes()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (out, finished)]
    assert summaries[0]["sites"] == summaries[1]["sites"]
    assert summaries[0]["unseen"] == summaries[1]["unseen"]
