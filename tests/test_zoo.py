"""The zoo: every published file is the one that was published, wherever it comes from."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from rgd.denoiser import NetworkDenoiser
from rgd.errors import CheckpointError
from rgd.lab import recipe as recipes
from rgd.lab import registry as zoo
from rgd.lab.judge import Judge, JudgeConfig
from rgd.networks import EncoderConfig, EncoderUNet, UNetConfig, build
from rgd.schedule import linear
from rgd.training.checkpoints import Model
from tools import publish
from tools.parts import PARTS

ROOT = Path(__file__).resolve().parent.parent
SHAPE: dict[str, Any] = dict(
    image_size=8, in_channels=1, model_channels=8, num_res_blocks=1, attention_resolutions=(), channel_mult=(1,)
)
MODELS: dict[str, tuple[Any, type]] = {
    "digits/ddpm": (UNetConfig(**SHAPE, out_channels=1), NetworkDenoiser),
    "digits/vanilla": (EncoderConfig(**SHAPE, out_channels=10), EncoderUNet),
    "digits/judge": (JudgeConfig(image_size=8, in_channels=1, out_channels=10, width=4), Judge),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with three models trained in runs/ and published by the tool."""
    root = tmp_path_factory.mktemp("project")
    (root / "rgd" / "lab").mkdir(parents=True)
    (root / "rgd" / "lab" / "zoo.json").write_text("{}")
    (root / "results").mkdir()
    for name, (config, _) in MODELS.items():
        schedule = None if isinstance(config, JudgeConfig) else linear()
        denoising = {"predicts": "eps", "variance": "large"} if isinstance(config, UNetConfig) else {}
        made = {"data": "digits", "recipe": name, "commit": "0123456789ab", "seed": 0}
        model = Model(build(config, seed=2).eval(), schedule, denoising, tuple("0123456789"), made)
        model.save(root / "runs" / name / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "ROOT", root)
        publish.main(tuple(MODELS), root / "runs")
    return root


@pytest.fixture
def registered(published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The same, as if it were this version's registry, with no weights beside the package and an empty cache."""
    entries = json.loads((published / "rgd" / "lab" / "zoo.json").read_text())
    entries = {name: entry["sha256"] for name, entry in entries.items()}
    monkeypatch.setattr(zoo, "_registry", lambda: entries)
    monkeypatch.setattr(zoo, "CLONE", tmp_path / "none")
    monkeypatch.setattr(zoo.pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("RGD_ZOO", raising=False)
    return published


@pytest.fixture
def served(registered: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of the weights, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(registered))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/weights", asked
        server.shutdown()


def same_answers(name: str, root: Path) -> None:
    config, kind = MODELS[name]
    loaded = zoo.load(name, "cpu")
    assert isinstance(loaded, kind)
    network: Any = loaded.network if isinstance(loaded, NetworkDenoiser) else loaded
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    original = build(config, seed=2).state_dict()
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, original[key], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_folder(name: str, registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RGD_ZOO", str(registered / "weights"))
    same_answers(name, registered)


@pytest.mark.parametrize("name", MODELS)
def test_a_clone(name: str, registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "CLONE", registered / "weights")
    monkeypatch.setattr(zoo, "address", lambda: pytest.fail("a clone needs no network"))
    same_answers(name, registered)


def test_an_address_is_asked_once(
    registered: Path, served: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = served
    monkeypatch.setattr(zoo, "address", lambda: address)  # as from a wheel, or on Colab
    for _ in range(3):
        same_answers("digits/vanilla", registered)
    assert asked == ["/weights/digits/vanilla.safetensors"]
    monkeypatch.setenv("RGD_ZOO", address + "/")  # and as told
    same_answers("digits/judge", registered)
    assert asked[1:] == ["/weights/digits/judge.safetensors"]


def test_what_another_version_left_in_the_cache_is_replaced(
    registered: Path, served: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RGD_ZOO", served[0])
    left = tmp_path / "cache" / "rgd" / "weights" / "digits" / "judge.safetensors"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of another version")
    same_answers("digits/judge", registered)
    assert left.read_bytes() == (registered / "weights" / "digits" / "judge.safetensors").read_bytes()


def test_an_empty_variable_is_none(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RGD_ZOO", "")
    monkeypatch.setattr(zoo, "CLONE", registered / "weights")
    same_answers("digits/judge", registered)


def test_a_file_that_was_changed_is_refused(
    registered: Path, served: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "weights" / "digits"
    copy.mkdir(parents=True)
    content = bytearray((registered / "weights" / "digits" / "judge.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "judge.safetensors").write_bytes(content)
    monkeypatch.setenv("RGD_ZOO", str(copy.parent))
    with pytest.raises(CheckpointError, match=r"its hash is another.*rgd train digits/judge"):
        zoo.load("digits/judge")
    wrong = {"digits/judge": "0" * 64}
    monkeypatch.setattr(zoo, "_registry", lambda: wrong)
    monkeypatch.setenv("RGD_ZOO", served[0])
    with pytest.raises(CheckpointError, match="Download it by hand, and set RGD_ZOO"):
        zoo.load("digits/judge")


def test_what_cannot_be_had(registered: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="did you mean digits/vanilla"):
        zoo.load("digits/vanila")
    monkeypatch.setenv("RGD_ZOO", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"no digits/judge\.safetensors in it"):
        zoo.load("digits/judge")
    monkeypatch.setenv("RGD_ZOO", "http://127.0.0.1:9/weights")
    with pytest.raises(CheckpointError, match="cannot be had from"):
        zoo.load("digits/judge")


def test_the_address_is_that_of_the_projects_repository_at_this_version() -> None:
    import rgd

    assert zoo.address().startswith("https://")
    assert zoo.address().endswith(f"/raw/v{rgd.__version__}/weights")


def test_records_say_what_was_published(published: Path) -> None:
    record = json.loads((published / "results" / "models.json").read_text())
    assert set(record["models"]) == set(MODELS)
    for name, model in record["models"].items():
        file = published / "weights" / f"{name}.safetensors"
        assert model["bytes"] == file.stat().st_size
        assert model["made"]["commit"] == "0123456789ab"
    assert record["models"]["digits/judge"]["kind"] == "judge"
    assert 0 <= record["models"]["digits/judge"]["accuracy"]["value"] < 0.5  # random weights
    # A network that answers nothing (its last layer is zero) errs by the variance of the noise.
    errors = record["models"]["digits/ddpm"]["squared_error"].values()
    assert all(0.9 < error < 1.1 for error in errors)


def test_weights_that_half_precision_would_change_stay_as_they_are(published: Path, tmp_path: Path) -> None:
    network = build(MODELS["digits/judge"][0], seed=2).eval()
    with torch.no_grad():
        # Ten classes that differ by less than half precision can tell apart.
        random = torch.randn(network.head[-1].weight.shape, generator=torch.Generator().manual_seed(1))
        network.head[-1].weight.copy_(1000 + 0.05 * random)
        network.head[-1].bias.zero_()
    made = {"data": "digits", "recipe": "digits/judge", "commit": "0123456789ab", "seed": 0}
    Model(network, None, {}, tuple("0123456789"), made).save(tmp_path / "model.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "ROOT", tmp_path)
        record = publish.publish("digits/judge", tmp_path / "model.safetensors")
    assert record["changed_by_rounding"] > publish.SAME
    assert record["precision"] == "float32"
    assert record["bytes"] > 2 * 1.9 * sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", zoo.names())
def test_published_weights_of_this_project_are_whole(name: str) -> None:
    """Those of the clone; a wheel has none."""
    file = ROOT / "weights" / f"{name}.safetensors"
    if not file.exists():
        pytest.skip("the weights are not beside the package: this is no clone")
    model = zoo.model(name, "cpu")
    assert model.provenance["recipe"] == name
    assert name in recipes.names() or name in PARTS


# Where the experiment that is published has the same: which of its tables, and the row.
ROWS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "digits/maker": ("fewer", "trilemma", {"way": "made"}),
    "digits/flow": ("fewer", "flows", {"way": "flow, logit-normal", "steps": 25}),
    "digits/student_4": ("fewer", "distilled", {"by": "robust", "way": "halved", "steps": 4, "scale": 4}),
    "digits/student_2": ("fewer", "distilled", {"by": "robust", "way": "halved", "steps": 2, "scale": 4}),
    "latents/denoiser": ("fewer", "spaces", {"space": "latents, cosine", "way": "guided"}),
}
for name in ("vanilla", "robust"):
    ROWS[f"mnist/tokens_{name}"] = ("noise", "tokens", {"by": f"mnist/{name}"})
    ROWS[f"mnist/golden_{name}"] = ("noise", "shifts", {"by": f"mnist/{name}", "length": 4.0})


@pytest.mark.parametrize("name", ROWS)
def test_parts_are_those_of_the_experiments(name: str) -> None:
    """The first seed's: what its card says of its samples is what the experiment found."""
    kept, table, wanted = ROWS[name]
    samples = json.loads((ROOT / "results" / "models.json").read_text())["models"][name]["samples"]
    cells = json.loads((ROOT / "results" / f"{kept}.json").read_text())["cells"]
    rows = next(cell["rows"] for cell in cells if cell["what"] == table and cell["seed"] == 0)
    (row,) = (row for row in rows if wanted.items() <= row.items())
    for metric in samples.keys() & row.keys():
        found = row[metric]["value"] if isinstance(row[metric], dict) else row[metric]
        assert samples[metric]["value"] == pytest.approx(found, rel=0.01), metric  # no two processors round alike


def test_published_weights_are_small() -> None:
    for data, limit in (
        ("mnist", 20e6),
        ("cifar10", 60e6),
        ("digits", 6.2e6),
        ("dots", 2e6),
        ("latents", 2e6),
        ("real", 2e6),
    ):
        assert sum(file.stat().st_size for file in (ROOT / "weights" / data).glob("*.safetensors")) < limit
    parts = [ROOT / "weights" / f"{name}.safetensors" for name in PARTS]
    assert max(file.stat().st_size for file in parts if file.exists()) < 1.6e6
