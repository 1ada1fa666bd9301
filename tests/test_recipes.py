"""Recipes: every name makes what it says, the published models among them, and the paper's have the paper's sizes."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import rgd
from rgd import checkpoints, cli, experiments
from rgd.attacks import PGD
from rgd.errors import RgdError
from rgd.experiments import truth
from rgd.experiments.comparison import Comparison
from rgd.identity import key
from rgd.lab import origin
from rgd.lab import recipe as recipes
from rgd.networks import UNetConfig
from rgd.training import Training, loop
from rgd.training.objectives import Denoising
from tools.parts import PARTS

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = json.loads((ROOT / "results" / "models.json").read_text())["models"]


def millions(network: torch.nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


@pytest.mark.parametrize("name", recipes.names())
def test_recipe_makes_a_network_that_runs_on_its_images(name: str) -> None:
    recipe = recipes.read(name)
    known = {"$RGD_IMAGENET": ("imagenet128", (3, 128, 128))}
    folder, shape = known[recipe.data] if recipe.streams else (recipe.data, rgd.lab.datasets.KNOWN[recipe.data][0])
    assert (recipe.name, name.split("/")[0]) == (name, folder)
    assert recipe.about.endswith((".", "?"))
    network, config = rgd.build(recipe.network).eval(), recipe.network
    x = torch.zeros(2, config.in_channels, config.image_size, config.image_size)
    assert shape == x.shape[1:]
    t, y = torch.tensor([0, recipe.T - 1]), torch.tensor([0, 1])
    with torch.no_grad():
        output = network(x) if isinstance(network, rgd.Judge) else (
            network(x, t, y) if getattr(config, "num_classes", None) else network(x, t)
        )  # fmt: skip
    assert output.shape[1] == config.out_channels


@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() & set(recipes.names())))
def test_the_recipe_of_a_published_model_is_what_made_it(name: str) -> None:
    """By what the model's file says of itself, which the tables cannot change."""
    made, recipe = PUBLISHED[name]["made"]["made_from"]["recipe"], recipes.read(name)
    for part in ("network", "training"):  # fields that came later are not in it
        now = json.loads(json.dumps(asdict(getattr(recipe, part))))
        assert made[part] == {field: now[field] for field in made[part]}
    assert made["schedule"] == f"{recipe.schedule} {recipe.T}"
    assert made["objective"].split("(")[0] == type(recipe.objective).__name__
    attack = getattr(recipe.objective, "attack", None)
    if isinstance(attack, PGD):
        ends = (attack.threat.radius,) if isinstance(attack.threat.radius, float) else (
            attack.threat.radius.clean, attack.threat.radius.noisy
        )  # fmt: skip
        assert [float(number) for number in re.findall(r"\d+\.\d+", made["objective"])] == list(ends)
        assert f"steps={attack.steps}," in made["objective"]


def test_the_papers_networks_have_the_papers_sizes() -> None:
    assert round(millions(rgd.build(recipes.read("cifar10/paper_robust").network)), 2) == 2.07
    # 52.5 M in the paper (truncated), without the null label, which its network has not.
    ddpm = replace(recipes.read("cifar10/paper_ddpm").network, null_label=False)
    assert round(millions(rgd.build(ddpm)), 2) == 52.55
    imagenet = rgd.EncoderConfig(
        image_size=128, in_channels=3, out_channels=1000, model_channels=128, channel_mult=(1, 1, 2, 3, 4),
        num_res_blocks=2, attention_resolutions=(4, 8, 16), num_head_channels=64, use_scale_shift_norm=True,
        resblock_updown=True, pool="attention",
    )  # fmt: skip
    assert recipes.read("imagenet128/robust").network == recipes.read("imagenet128/vanilla").network == imagenet
    with torch.device("meta"):
        assert round(millions(rgd.EncoderUNet(imagenet)), 2) == 42.57


def test_the_imagenet_recipes_are_the_papers() -> None:
    robust, vanilla = (recipes.read(f"imagenet128/{kind}") for kind in ("robust", "vanilla"))
    for recipe, batch_size in ((robust, 128), (vanilla, 256)):
        training = recipe.training
        assert (training.steps, training.batch_size, training.lr, training.weight_decay) == (
            300_000, batch_size, 3e-4, 0.05,
        )  # fmt: skip
        assert (training.precision, training.ema, training.anneal, training.warmup) == ("fp32", None, True, 0)
        assert training.lr_at(150_000) == 1.5e-4
        assert (recipe.network.dropout, recipe.schedule, recipe.T) == (0, "linear", 1000)
    attack = robust.objective.attack
    assert isinstance(attack, PGD)
    assert (attack.threat, attack.steps, attack.step) == (rgd.L2(0.5), 7, 1 / 6)
    assert (attack.early_stop, attack.random_start) == (True, False)


def photographs(place: Path, n: int = 24) -> Path:
    """As ImageNet lies on disk: folders of JPEGs of several sizes, named by WordNet."""
    for i in range(n):
        folder = place / "train" / f"n0{1440764 + i % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (40 + i, 64 - i, 3), generator=rgd.generator(i), dtype=torch.uint8)
        Image.fromarray(pixels.numpy()).save(folder / f"{folder.name}_{i}.JPEG")
    return place


def test_a_tiny_version_of_the_imagenet_recipe_trains_on_a_folder_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the command, with the network narrower and the images smaller; once more with less memory, to the same end."""
    whole = recipes.read("imagenet128/robust")
    with pytest.raises(RgdError, match=r"RGD_IMAGENET is not set.*--data PATH"):
        recipes.train(whole, tmp_path / "nothing")
    narrow = replace(whole.network, image_size=32, model_channels=32, num_res_blocks=1, num_head_channels=32)
    small = replace(whole, network=narrow, training=replace(whole.training, steps=4, batch_size=8, save_every=2))
    monkeypatch.setattr(recipes, "read", lambda name: small)
    monkeypatch.chdir(tmp_path)
    place = photographs(tmp_path / "imagenet")
    cli.train("imagenet128/robust", data=str(place))
    monkeypatch.setenv("RGD_IMAGENET", str(place))
    cli.train("imagenet128/robust", {"recompute": True}, out=tmp_path / "less")
    made = [checkpoints.load(path / "model.safetensors") for path in (Path("runs/imagenet128/robust"), Path("less"))]
    for model in made:
        assert model.classes == ("n01440764", "n01440765", "n01440766")
        assert model.provenance["streamed"] == str(place / "train")
        assert model.provenance["images_seen"] == 32
    with pytest.raises(RgdError, match=r"name some \(--data"):  # and not all of ImageNet in memory
        cli.gradients((Path("less/model.safetensors"),), n=4)
    first, second = (model.network.state_dict() for model in made)
    begun = rgd.build(narrow).state_dict()
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)
    assert not all(torch.equal(first[name], begun[name]) for name in first)
    assert key(made[0].provenance["made_from"]) == key(made[1].provenance["made_from"])


@pytest.fixture
def tiny() -> recipes.Recipe:
    recipe = recipes.read("digits/vanilla")
    return replace(recipe, training=replace(recipe.training, steps=6, batch_size=16, save_every=2))


def test_train_writes_a_model_that_knows_its_origin(tiny: recipes.Recipe, tmp_path: Path) -> None:
    made = recipes.train(tiny, tmp_path / "model", progress=False)
    loaded = checkpoints.load(tmp_path / "model" / "model.safetensors")
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name].cpu(), tensor.cpu())
    assert loaded.provenance["images_seen"] == 6 * 16
    assert loaded.provenance["recipe"] == "digits/vanilla"
    assert {"date", "commit", "device", "seed", "hours", "torch"} <= set(loaded.provenance)
    assert loaded.classes == tuple("0123456789")
    log = [json.loads(line) for line in (tmp_path / "model" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [1, 2, 3, 4, 5, 6]
    assert all({"loss", "accuracy"} <= set(row) for row in log)


def test_a_finished_model_is_not_made_again(tiny: recipes.Recipe, tmp_path: Path) -> None:
    recipes.train(tiny, tmp_path, progress=False)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    recipes.train(tiny, tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


def test_a_log_line_cut_short_is_forgotten(tiny: recipes.Recipe, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5}\n{"step": 3, "lo')
    assert [row["step"] for row in recipes._Log(log, tiny.training, 3).rows] == [1, 2]


@pytest.mark.parametrize(
    "line", ["hello}", "[1]", '{"loss": 1}', '{"step": null}', '{"step": 2, "begun": "x"}', "\\xff"], ids=str
)
def test_what_somebody_else_wrote_into_a_log_is_forgotten(line: str, tiny: recipes.Recipe, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(b'{"step": 1, "loss": 2.0}\n' + line.replace("\\xff", "\xff").encode("latin-1") + b"\n")
    found = recipes._Log(log, tiny.training, 2)
    assert (found.rows, found.begun) == ([{"step": 1, "loss": 2.0}], {})


def test_ctrl_c_within_a_step_leaves_a_batch_norm_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = recipes.read("digits/judge")
    training = replace(judge.training, steps=20, batch_size=8, save_every=100)
    recipe, whole = replace(judge, network=replace(judge.network, width=4), training=training), loop._accumulate

    def stopped(state: Any, *given: Any) -> Any:
        found = whole(state, *given)
        if state.step == 11:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_accumulate", stopped)
        with pytest.raises(KeyboardInterrupt):
            recipes.train(recipe, tmp_path / "stopped", progress=False)
    assert checkpoints.read_metadata(tmp_path / "stopped" / "state.safetensors")["step"] == 11
    gone_on = recipes.train(recipe, tmp_path / "stopped", progress=False).network.state_dict()
    undisturbed = recipes.train(recipe, tmp_path / "undisturbed", progress=False).network.state_dict()
    assert any(name.endswith("running_var") for name in undisturbed)
    assert all(torch.equal(value, gone_on[name]) for name, value in undisturbed.items())


def test_ctrl_c_before_the_first_step_is_told_as_what_it_is(
    tiny: recipes.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped() -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.time, "perf_counter", stopped)
    with pytest.raises(KeyboardInterrupt):
        next(recipes.fit(rgd.build(tiny.network), tiny.objective, tiny.images(), tiny.make_schedule(), tiny.training))


@pytest.mark.parametrize("stops", [(150,), (151,), (151, 152, 153), (3, 299), (1, 2)], ids=str)
def test_a_log_after_stops_has_the_rows_that_it_would_have_had(
    tmp_path: Path, stops: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of three steps and states of seven, so that a state is seldom at the end of a hundredth."""
    judge = recipes.read("digits/judge")
    network = replace(judge.network, width=2, features=2)
    recipe = replace(judge, network=network, training=replace(judge.training, steps=300, batch_size=2, save_every=7))

    def log(name: str) -> str:
        return (tmp_path / name / "log.jsonl").read_text()

    recipes.train(recipe, tmp_path / "undisturbed", progress=False)
    steps = [json.loads(line)["step"] for line in log("undisturbed").splitlines()]
    assert steps == [step for step in range(1, 301) if step % 3 == 0 or step % 7 == 0]
    whole, killed = loop._gradients, tmp_path / "killed"
    for stop in stops:

        def stopped(state: Any, *given: Any, stop: int = stop) -> Any:
            if state.step == stop:
                raise KeyboardInterrupt
            return whole(state, *given)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "_gradients", stopped)
            with pytest.raises(KeyboardInterrupt):
                recipes.train(recipe, tmp_path / "stopped", progress=False)
        if not killed.exists():  # and then killed a little later, from which the same state is gone on with
            shutil.copytree(tmp_path / "stopped", killed)
    recipes.train(recipe, tmp_path / "stopped", progress=False)
    assert log("stopped") == log("undisturbed")
    with open(killed / "log.jsonl", "a") as file:
        file.write(f'{{"step": {stops[0] + 5}, "loss": 1.0, "accuracy": 0.0}}\n')
    recipes.train(recipe, killed, progress=False)
    assert log("killed") == log("undisturbed")


def test_another_variance_needs_no_training(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"image_size": 8, "in_channels": 1, "out_channels": 1, "model_channels": 8}
    network = UNetConfig(**sizes, num_res_blocks=1, channel_mult=(1,), attention_resolutions=())
    first = recipes.Recipe("digits/ddpm", "digits", network, Denoising(), Training(2, 8))
    with pytest.raises(ValueError, match="'linear' or 'cosine', not 'lineer'"):
        replace(first, schedule="lineer")
    made = recipes.train(first, tmp_path, progress=False)
    again = recipes.train(replace(first, variance="small"), tmp_path, progress=False)
    assert (made.denoising["variance"], again.denoising["variance"]) == ("large", "small")
    for name, tensor in made.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)


def test_another_recipe_does_not_overwrite_a_model(tiny: recipes.Recipe, tmp_path: Path) -> None:
    recipes.train(tiny, tmp_path, progress=False)
    before = (tmp_path / "model.safetensors").read_bytes()
    other = replace(tiny, training=replace(tiny.training, lr=1e-2))
    with pytest.raises(RgdError, match=r"training\.lr was 0\.001, is now 0\.01"):
        recipes.train(other, tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").read_bytes() == before


def test_a_recipe_is_the_same_whatever_is_said_about_it(tiny: recipes.Recipe, tmp_path: Path) -> None:
    recipes.train(tiny, tmp_path, progress=False)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    other = replace(tiny, about="Something else.")
    recipes.train(other, tmp_path, progress=False)
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    assert other == tiny


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("name", experiments.names())
def test_the_models_of_an_experiment_have_recipes_of_its_data(name: str, quick: bool) -> None:
    plan = experiments.read(name, quick)
    parts = set(plan.models()) & PARTS.keys()  # they have no recipe, so that nobody could run it unless they are there
    assert parts <= PUBLISHED.keys()
    for model in set(plan.models()) - parts:
        assert recipes.read(model).data == plan.data  # type: ignore[union-attr]
    if isinstance(plan, Comparison):
        assert plan.judge not in {entry.guide for entry in plan.entries}
    if isinstance(plan, truth.Truth):
        assert set(plan.worlds) == set(truth.WORLDS)
        assert 0.0 in plan.radii
    if quick:  # with few models that are not published
        whole = experiments.read(name)
        assert plan != whole
        twins = {model for model in whole.models() if model.endswith("_twin")}
        assert set(plan.models()) == set(whole.models()) - twins


OWN = """
from rgd.lab import recipe
from rgd import experiments
{one}s = {{"mine/a": {read}, "mine/b": 3}}
"""


@pytest.mark.parametrize(
    ("one", "what"), [("recipe", "recipe.read('digits/judge')"), ("experiment", "experiments.read('truth')")]
)
def test_your_own_is_a_file_or_one_of_its_table(one: str, what: str, tmp_path: Path) -> None:
    read: Any = {"recipe": recipes.read, "experiment": experiments.read}[one]
    table, single = tmp_path / "my_table.py", tmp_path / "my.py"
    table.write_text(OWN.format(one=one, read=what))
    single.write_text(OWN.format(one=one, read=what).replace(f"{one}s =", f"{one} = {what} #"))
    ours = read("digits/judge" if one == "recipe" else "truth")
    assert read(single) == read(f"{table}:mine/a") == ours
    for wrong, said in {
        str(table): rf"does not define `{one} = .*\(\.\.\.\)`; name one of its table, such as .*my_table\.py:mine/a",
        f"{table}:mine/aa": rf"there is no {one} mine/aa in .*my_table\.py; did you mean mine/a\?",
        f"{table}:mine/b": r"my_table\.py:mine/b is 3, where .*\(\.\.\.\) is needed",
        f"{single}:mine/a": rf"there is no {one} mine/a in .*my\.py$",
        str(tmp_path / "nowhere.py"): rf"there is no {one} file .*nowhere\.py; there are .*(mnist/ddpm|study_mnist)",
        "zzz": rf"there is no {one} zzz \(your own is named by its file.*\); there are .*(mnist/ddpm|study_mnist)",
    }.items():
        with pytest.raises(RgdError, match=said):
            read(wrong)


@pytest.mark.parametrize("wrong", ["mnist/robust2", "mnist_robust_2", "recipes/mnist_robust_2.py", "mnits/robust_2"])
def test_a_misspelt_recipe_is_guessed(wrong: str) -> None:
    with pytest.raises(RgdError, match=r"did you mean mnist/robust_2\?"):
        recipes.read(wrong)


def test_a_misspelt_experiment_is_guessed() -> None:
    with pytest.raises(RgdError, match=r"no experiment compare_mnits .* did you mean compare_mnist\?"):
        experiments.read("compare_mnits")


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["rgd", *arguments])
    with contextlib.suppress(SystemExit):
        cli.main()
    return "".join(capsys.readouterr())


def test_the_commands_list_what_there_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    listed = said(capsys, monkeypatch, "train").splitlines()
    assert [line.split()[0] for line in listed] == list(recipes.names())
    assert "Radius 1 by three attack steps" in next(line for line in listed if line.startswith("mnist/pgd3 "))
    assert said(capsys, monkeypatch, "evaluate").split() == list(experiments.names())
    for command, names in (("train", recipes.names()), ("evaluate", experiments.names())):
        words = re.findall(r"[\w/]+", said(capsys, monkeypatch, command, "--help"))
        assert set(names) <= set(words)


@pytest.mark.parametrize(
    ("what", "folder"),
    [("truth", "truth"), ("mine.py", "mine"), ("mine.py:one", "one"), ("some/mine.py:two/three", "three")],
)
def test_an_experiment_writes_its_results_into_a_folder_of_its_name(
    what: str, folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[Any] = []

    def stopped(*arguments: Any, **_: Any) -> None:
        ran.append(arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "read", lambda what, quick: (what, quick))
    monkeypatch.setattr(experiments, "run", stopped)
    assert "What was done is kept" in said(capsys, monkeypatch, "evaluate", what, "--quick")
    place = Path("runs") / f"{folder}_quick"
    assert ran == [((what, True), place / "results.json")]


@dataclass(frozen=True)
class OfV:
    """An objective of one's own, which says what the network predicts."""

    predicts: str = "v"

    def __call__(self, *batch: Any) -> Any:
        return Denoising("v")(*batch)


def test_a_saved_denoiser_says_what_it_predicts_and_the_variance_last_asked_for(tmp_path: Path) -> None:
    network = UNetConfig(
        image_size=8, in_channels=1, out_channels=1, model_channels=8, num_res_blocks=1, channel_mult=(1,),
        attention_resolutions=(),
    )  # fmt: skip
    recipe = recipes.Recipe("mine/v", "digits", network, OfV(), Training(2, batch_size=4))
    for variance in ("large", "small"):
        recipes.train(replace(recipe, variance=variance), tmp_path, progress=False)  # type: ignore[arg-type]
        kept = checkpoints.load(tmp_path / "model.safetensors").denoising
        assert (kept["predicts"], kept["variance"]) == ("v", variance)


def test_samples_are_no_experiment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(path: Path) -> None:
        assert path == Path(what)
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "read", stopped)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found").touch()
    for what in ("missing.safetensors", "found"):
        assert "Nothing was written" in said(capsys, monkeypatch, "evaluate", what, "--judge", "judge.safetensors")


@pytest.mark.check
def test_a_wheel_has_the_tables(tmp_path: Path) -> None:
    """What goes where is read from pyproject.toml."""
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    unused = shutil.ignore_patterns("__pycache__")
    for source, target in {**{name: name for name in wheel["packages"]}, **wheel["force-include"]}.items():
        shutil.copytree(ROOT / source, tmp_path / target, ignore=unused)
    code = "from rgd import experiments, recipes; print(recipes.__file__, *recipes.names(), *experiments.names())"
    run = [sys.executable, "-c", code]
    where, *names = subprocess.run(
        run, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True
    ).stdout.split()
    assert Path(where).is_relative_to(tmp_path)
    assert names == [*recipes.names(), *experiments.names()]


STUBS = """
source() { :; }
rgd() { printf '%q ' "$@"; echo; }
accelerate() { while [ "$1" != rgd.cli ]; do shift; done; shift; rgd "$@"; }
"""


def resolve(command: str, what: str) -> None:
    if command == "train":
        recipes.read(what)
    elif not what.endswith(".safetensors"):
        experiments.read(what)


def test_the_readmes_commands_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell expands them, the command line parses them, and the recipes and experiments that they name are there."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = STUBS + "".join(block for block in blocks if re.search(r"^ *rgd train", block, re.MULTILINE))
    lines = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout.splitlines()
    ran: dict[str, list[Any]] = {}
    for name in ("train", "sample", "gradients", "evaluate"):

        @functools.wraps(getattr(cli, name))
        def parsed(*arguments: Any, name: str = name, **options: Any) -> None:
            ran.setdefault(name, []).append((*arguments, *options.values())[0])

        monkeypatch.setattr(cli, name, parsed)
    for line in lines:
        monkeypatch.setattr(sys, "argv", ["rgd", *shlex.split(line)])
        cli.main()
    assert ran["train"] == [f"digits/{part}" for part in ("ddpm", "vanilla", "robust", "judge", "robust")]
    assert set(ran) == {"train", "sample", "gradients", "evaluate"}
    for command in ("train", "evaluate"):
        for what in ran[command]:
            resolve(command, what)


def test_what_pages_and_docstrings_tell_to_train_is_there() -> None:
    places = ("*.md", "book/**/*.md", "notebooks/*.ipynb", "rgd/**/*.py", "tools/*.py", "recipes/*.py", "Makefile")
    told = {
        (command, what.rstrip("."))
        for place in places
        for path in ROOT.glob(place)
        for command, what in re.findall(r"rgd(?:\.cli)? (train|evaluate) ([\w./]+)(?![\w./$])", path.read_text())
    }
    assert ("train", "mnist/robust") in told
    for command, what in told - {("train", "mine.py"), ("train", "NAME"), ("evaluate", "NAME")}:
        resolve(command, what)


def test_a_commit_is_marked_where_the_source_was_changed_but_not_where_results_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin, "__file__", str(tmp_path / "rgd" / "origin.py"))
    for folder in ("rgd", "results"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "origin.py").write_text("before")
    assert origin.commit() is None

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", str(tmp_path), *who, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    assert origin.commit() is None  # there is none yet
    (tmp_path / "theirs").write_text("a project with rgd installed inside it")
    git("add", "theirs")
    git("commit", "-m", "theirs")
    assert origin.commit() is None  # their commit is not ours
    git("add", ".")
    git("commit", "-m", "all")
    head = git("rev-parse", "HEAD")[:12]
    assert origin.commit() == head
    (tmp_path / "results" / "origin.py").write_text("after")
    assert origin.commit() == head
    (tmp_path / "rgd" / "origin.py").write_text("after")
    assert origin.commit() == head + "+"
