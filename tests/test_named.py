"""Models of others by name: the libraries' own classes with random weights, in every command and in a comparison."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision

import rgd
from rgd import checkpoints, cli, experiments
from rgd.errors import CheckpointError, RgdError
from rgd.experiments import Comparison, Entry
from rgd.identity import key
from rgd.lab import checks, datasets, named, registry
from rgd.training.checkpoints import Model

diffusers = pytest.importorskip("diffusers")
timm = pytest.importorskip("timm")
DIGITS = tuple("0123456789")
X0 = rgd.noise((3, 1, 8, 8), seed=1).clamp(-1, 1)

OWN = """
import rgd, torch
from torch import nn

print("this module runs")


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def guide():
    return rgd.CleanClassifier(network())


def whole():
    config = rgd.EncoderConfig(image_size=8, in_channels=1, out_channels=10, model_channels=8, num_res_blocks=1,
                               channel_mult=(1,), attention_resolutions=())
    return rgd.checkpoints.Model(rgd.build(config).eval(), rgd.schedule.linear(), {}, tuple("0123456789"))


def nothing():
    return 3
"""


def resnet(seed: int = 0, classes: int = 10) -> Any:
    torch.manual_seed(seed)
    return torchvision.models.resnet18(num_classes=classes).eval()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with weights as others leave them, a module, and a pipeline; nothing can be downloaded."""
    wrapped = {f"module.model.{name}": value for name, value in resnet().state_dict().items()}
    torch.save({"state_dict": wrapped | {"module.normalizer.std": torch.ones(3)}}, tmp_path / "robust.pt")
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet10t", num_classes=10).state_dict(), tmp_path / "timm.pt")
    (tmp_path / "mine_named.py").write_text(OWN)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, attention_head_dim=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(beta_end=0.03)
    diffusers.DDIMPipeline(unet, scheduler).save_pretrained(tmp_path / "pipeline")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delitem(sys.modules, "mine_named", raising=False)
    return tmp_path


ROBUST = "torchvision:resnet18,weights=robust.pt,classes=digits,size=32,mean=0.4:0.4:0.4,std=0.2:0.25:0.3"


def test_an_adversarially_trained_network_from_a_state_dict(place: Path) -> None:
    with pytest.warns(UserWarning, match=r"more than the network takes: module\.normalizer\.std"):
        model = named.model(ROBUST)
    wanted = rgd.CleanClassifier(resnet(), rgd.Sees((0.4,) * 3, (0.2, 0.25, 0.3), (32, 32)))
    assert (model.classes, model.schedule, model.role) == (DIGITS, None, "judge")
    torch.testing.assert_close(model.network(X0), wanted(X0))
    assert not model.network.network.training


def test_a_timm_network_from_a_state_dict(place: Path) -> None:
    model, theirs = named.model("timm:resnet10t,weights=timm.pt,classes=digits,size=16:24"), None
    theirs = timm.create_model("resnet10t", num_classes=10)
    theirs.load_state_dict(torch.load("timm.pt"))
    wanted = rgd.from_timm(theirs, size=(16, 24))
    torch.testing.assert_close(model.network(X0), wanted(X0))


def test_without_weights_the_librarys_own_are_asked_for_and_so_are_its_names(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, create = [], timm.create_model

    def made(name: str, pretrained: bool) -> Any:
        asked.append((name, pretrained))
        return create(name)

    monkeypatch.setattr(timm, "create_model", made)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda url, **_: asked.append(url) or
                        resnet(classes=1000).state_dict())  # fmt: skip
    ours, theirs = named.model("timm:resnet10t.c3_in1k"), named.model("torchvision:resnet18")
    assert asked[0] == ("resnet10t.c3_in1k", True)
    assert "resnet18" in asked[1]
    assert len(ours.classes) == len(theirs.classes) == 1000
    assert ours.classes[207].startswith(theirs.classes[207])
    assert theirs.classes[207] == "golden retriever"
    assert ours.network.sees.interpolation == "bicubic"
    with pytest.raises(RgdError, match="10 classes are named, and the network knows 1000"):
        named.model("torchvision:resnet18,classes=digits")


def test_features_are_what_the_last_linear_layer_is_given(place: Path) -> None:
    model = named.model("mine_named:guide")
    assert torch.equal(model.network.features(X0), ((X0 + 1) / 2 - 0.5).flatten(1) / 0.5)
    network = rgd.CleanClassifier(resnet(), rgd.Sees((0.5,) * 3, (0.5,) * 3, (32, 32)))
    features, theirs = network.features(X0), network.network
    torch.testing.assert_close(theirs.fc(features), network(X0))
    assert not theirs.fc._forward_pre_hooks


def test_a_pipeline_is_the_denoiser_of_its_network_and_scheduler(place: Path) -> None:
    model = checks.load(Path("diffusers:pipeline"), "denoiser")
    wanted = rgd.from_diffusers(diffusers.DDIMPipeline.from_pretrained("pipeline"))
    x, t = rgd.noise((3, 1, 8, 8), seed=2), torch.tensor([3, 400, 999])
    assert torch.equal(model.use()(x, t).eps.cpu(), wanted(x, t).eps)
    assert key(model.use()) == key(wanted)


def test_a_pipelines_folder_runs_no_code(place: Path) -> None:
    (place / "pipeline" / "unet" / "evil.py").write_text("raise SystemExit('the folder runs')")
    (place / "pipeline" / "evil.py").write_text("raise SystemExit('the folder runs')")
    index = place / "pipeline" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"unet": ["evil", "UNet2DModel"]}))
    assert named.model("diffusers:pipeline").role == "denoiser"
    config = place / "pipeline" / "scheduler" / "scheduler_config.json"
    for name in ("UNet2DModel", "evil", "logging"):
        config.write_text(json.dumps(json.loads(config.read_text()) | {"_class_name": name}))
        with pytest.raises(RgdError, match="no scheduler of diffusers"):
            named.model("diffusers:pipeline")


def test_a_module_is_imported_because_it_is_named_and_else_never(place: Path, capsys: Any) -> None:
    assert not named.is_spec("robust.pt")
    assert named.is_spec("mine_named:guide")
    assert "mine_named" not in sys.modules
    assert "this module runs" not in capsys.readouterr().out
    assert checks.load(Path("mine_named:whole"), "classifier").role == "classifier"
    assert "this module runs" in capsys.readouterr().out
    (place / "mine_named:guide").write_text("a file")
    assert not named.is_spec("mine_named:guide"), "a file that is there is a file"


def test_the_identity_is_the_name_the_weights_and_how_it_sees(place: Path) -> None:
    spec = "torchvision:resnet18,weights=other.pt,classes=digits"

    def keyed(weights: int = 0, more: str = "") -> str:
        torch.save(resnet(weights).state_dict(), "other.pt")
        return key(named.model(spec + more))

    first = keyed()
    Path("other.pt").rename("renamed.pt")
    assert key(named.model(spec.replace("other", "renamed"))) == first == keyed(), "whatever the file is called"
    keys = {first, keyed(1), keyed(0, ",size=32"), keyed(0, ",std=0.3:0.3:0.3"), keyed(0, ",interpolation=nearest")}
    assert len(keys) == 5


def test_the_identity_of_a_function_is_its_code(place: Path) -> None:
    def keyed(source: str) -> str:
        sys.modules.pop("mine_named", None)
        Path("mine_named.py").write_text(source)
        return key(named.model("mine_named:guide"))

    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        same = keyed(OWN), keyed(OWN + "\n# a remark\n")
        other = keyed(OWN.replace("rgd.CleanClassifier(network())", "rgd.CleanClassifier(network(), rgd.Sees((0.4,)))"))
        code = keyed(OWN.replace("nn.Linear(64, 10)", "nn.Linear(64, 10), nn.Softplus()"))
    finally:
        sys.dont_write_bytecode = before
    assert same[0] == same[1]
    assert len({same[0], other, code}) == 3


REFUSED = {
    "an option": ("timm:resnet10t,wieghts=a.pt", "no option wieghts; there are weights"),
    "classes": ("timm:resnet10t,weights=timm.pt,classes=nowhere", "classes=nowhere is neither"),
    "no weights": ("timm:resnet10t,weights=nowhere.pt,classes=digits", "no file nowhere.pt"),
    "other weights": ("torchvision:resnet18,weights=timm.pt,classes=digits", "another architecture"),
    "a head of another size": ("torchvision:resnet18,weights=robust.pt", r"fc\.bias"),
    "no network": ("torchvision:resnet17", "resnet17"),
    "no module": ("nowhere:guide", "there is no nowhere:guide"),
    "no function": ("mine_named:nowhere", "there is no mine_named:nowhere"),
    "another thing": ("mine_named:nothing", "it returned a int"),
    "a number": ("timm:resnet10t,weights=timm.pt,classes=digits,size=big", "size|big"),
}


@pytest.mark.parametrize(("spec", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_had_is_named(place: Path, spec: str, words: str) -> None:
    with pytest.raises((RgdError, CheckpointError, ValueError), match=words):
        named.model(spec)


def test_roles_are_kept(place: Path) -> None:
    assert checks.load(Path("mine_named:guide"), "classifier").network
    assert checks.load(Path("mine_named:guide"), "judge").network
    for name, role in (
        ("mine_named:guide", "denoiser"),
        ("diffusers:pipeline", "judge"),
        ("mine_named:whole", "judge"),
    ):
        with pytest.raises(RgdError, match="is needed"):
            checks.load(Path(name), role)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*more than the network takes")
def test_commands_take_them(place: Path, capsys: Any) -> None:
    theirs = Path("diffusers:pipeline")
    cli.sample(theirs, Path(ROBUST), n=20, steps=2, scale=3.0)
    tensors, origin = checkpoints.read(place / "samples.safetensors")
    model, guide = named.model("diffusers:pipeline"), named.model(ROBUST)
    through = rgd.grad_log_prob_of_x0(guide.network, model.use())
    wanted = rgd.sample(rgd.guide(model.use(), through, 3.0), (20, 1, 8, 8), torch.arange(20) % 10, steps=2,
                        progress=False)  # fmt: skip
    torch.testing.assert_close(tensors["images"], wanted, atol=1e-4, rtol=1e-4)
    assert origin["classifier"] == ROBUST
    cli.evaluate("samples.safetensors", Path(ROBUST), reference="digits", metrics=("accuracy", "fd"), halves=2)
    said = capsys.readouterr().out
    logits = guide.network(tensors["images"])
    right = float((logits.argmax(1) == tensors["labels"]).float().mean())
    assert f"accuracy  {right:.2f}" in said
    assert "fd_judge" in said
    cli.gradients((Path("mine_named:whole"), Path(ROBUST)), data="digits", levels=(0, 500), n=4)
    assert "cosine to the first" in capsys.readouterr().out
    assert (place / "gradients.png").exists()
    with pytest.raises(RgdError, match="that knows t too"):
        cli.gradients((Path(ROBUST),), data="digits", n=4)


@pytest.mark.filterwarnings("ignore:.*more than the network takes")
def test_a_comparison_takes_them_and_finds_again_what_it_did(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    denoiser, spec = "diffusers:pipeline", "mine_named:guide"
    ways = tuple(Entry(name, denoiser, kind, guide, scales) for name, kind, guide, scales in (  # type: ignore[arg-type]
        ("none", "none", None, (0.0,)), ("robust", "through x0", ROBUST, (1.0,)), ("mine", "at x0", spec, (1.0,)),
    ))  # fmt: skip
    plan = Comparison("digits", "mine/judge", ways, (("robust", "none"),), samples=40, headline_samples=40,
                      headline_seeds=(1,), steps=2, reference=100)  # fmt: skip
    judge = rgd.build(rgd.JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4, features=8))
    Model(judge, None, {}, DIGITS).save(place / "runs" / "mine" / "judge" / "model.safetensors")
    found = experiments.run(plan, place / "a.json", runs=place / "runs")
    assert [row["name"] for row in found["headline"]] == ["none", "robust", "mine"]
    assert registry.find(spec).classes == ()
    monkeypatch.setattr("rgd.experiments.cells.sample", lambda *_, **__: pytest.fail("it is known"))
    again = experiments.run(plan, place / "b.json", runs=place / "runs")
    assert again["headline"] == found["headline"]


def test_a_data_set_of_names_may_be_a_file(place: Path) -> None:
    (place / "names.txt").write_text("a\nb c\n")
    assert named.class_names("names.txt") == ("a", "b c")
    assert named.class_names("cifar10") == datasets.KNOWN["cifar10"][1]


def test_a_classifier_that_knows_t_guides_by_its_own_gradient(place: Path) -> None:
    model = named.model("mine_named:whole")
    y, t = torch.tensor([1, 2, 3]), torch.tensor([5, 500, 900])
    own = named.gradient(model, SimpleNamespace())  # type: ignore[arg-type]
    assert torch.equal(own(X0, t, y), rgd.grad_log_prob(model.network)(X0, t, y))
