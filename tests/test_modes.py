"""The mode of a network: who changes it gives it back, and an attack meets the network that will be used."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rgd import objectives, schedule
from rgd.attacks import L2, PGD, Linf, fgsm
from rgd.compute.room import recomputing
from rgd.lab.judge import JudgeConfig
from rgd.layers import Stage
from rgd.measure.classifiers import accuracy_by_t
from rgd.measure.features import extract
from rgd.modes import evaluating
from rgd.networks import EncoderConfig, UNetConfig, build
from rgd.training.objectives import Denoising, RobustCrossEntropy

SCHEDULE = schedule.linear(100)
ATTACKS = {
    "pgd": PGD(L2(0.5), steps=3),
    "without stop": PGD(L2(0.5), steps=3, early_stop=False),
    "random start": PGD(Linf(0.1), steps=2, random_start=True),
    "fgsm": lambda classifier, xt, t, y, generator: fgsm(classifier, xt, t, y, L2(0.5), generator),
}


class Net(nn.Module):
    """Two kinds of batch norm, a third that its owner has frozen, and dropout: all that a mode changes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten())
        self.features = nn.Sequential(self.body, nn.Linear(144, 16), nn.BatchNorm1d(16), nn.ReLU())
        self.frozen, self.head = nn.BatchNorm1d(16), nn.Linear(16, 10)

    def forward(self, xt: Tensor, t: Tensor | None = None) -> Tensor:
        return self.head(self.frozen(self.features(xt)))


@pytest.fixture
def network() -> Net:
    network = Net()
    network(torch.randn(50, 1, 8, 8))  # running statistics that are not those of any batch below
    network.frozen.eval()
    return network


def batch(network: nn.Module, n: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    """(xt, t, y), of which the network in use takes all but the first for what they are, so that they can be moved."""
    xt, t = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(1)), torch.arange(n)
    with torch.no_grad(), evaluating(network):
        y = network(xt).argmax(1)
    y[0] = (y[0] + 1) % 10
    return xt, t, y


def untouched(network: nn.Module, act: Callable[[], Any]) -> Any:
    """What an act returns that leaves the network, its modes and the global random state as they were."""
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes, state = [module.training for module in network.modules()], torch.get_rng_state()
    result = act()
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    return result


def test_every_module_has_its_own_mode_again_after_an_error_too(network: Net) -> None:
    def act() -> None:
        with suppress(ZeroDivisionError), evaluating(network):
            assert not any(module.training for module in network.modules())
            raise ZeroDivisionError

    untouched(network, act)
    with evaluating(lambda xt, t: xt):  # has no mode
        pass


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_meets_the_network_that_will_be_used(name: str, network: Net) -> None:
    xt, t, y = batch(network)
    attack: Any = ATTACKS[name]
    attacked = untouched(network, lambda: attack(network, xt, t, y, torch.Generator().manual_seed(0)))
    used = attack(network.eval(), xt, t, y, torch.Generator().manual_seed(0))
    assert torch.equal(attacked, used)
    assert (attacked != xt).flatten(1).any(1)[1:].all()


def test_an_attack_on_one_image_is_that_in_its_batch(network: Net) -> None:
    xt, t, y = batch(network)
    together = ATTACKS["pgd"](network, xt, t, y, torch.Generator())  # type: ignore[operator]
    for i in range(len(xt)):
        one = slice(i, i + 1)
        alone = ATTACKS["pgd"](network, xt[one], t[one], y[one], torch.Generator())  # type: ignore[operator]
        torch.testing.assert_close(alone, together[one])


def test_robust_training_takes_one_pass_into_the_statistics(network: Net) -> None:
    """Whatever the attack; it sees evaluation mode, and the pass that trains has the modes of its owner."""
    x0, _, y = batch(network)
    seen = []

    def attack(classifier: Any, xt: Tensor, t: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        seen.append([module.training for module in classifier.modules()])
        return ATTACKS["pgd"](lambda xt, t: classifier(xt, t), xt, t, y, generator)  # type: ignore[operator]

    for chosen in (attack, ATTACKS["pgd"]):
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        objectives.RobustCrossEntropy(chosen)(network, SCHEDULE, x0, y, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
        moved = {name for name, tensor in network.state_dict().items() if not torch.equal(before[name], tensor)}
        assert moved == {f"{norm}.{name}" for norm in ("body.1", "features.0.1", "features.2")
                         for name in ("running_mean", "running_var", "num_batches_tracked")}  # fmt: skip
        assert network.body[1].num_batches_tracked == before["body.1.num_batches_tracked"] + 1
    assert not any(seen[0])


def test_free_training_counts_every_pass_because_every_pass_trains(network: Net) -> None:
    x0, _, y = batch(network)
    free = objectives.FreeCrossEntropy(L2(0.5), replays=3).begin()
    for k in range(1, 6):
        free(network, SCHEDULE, x0, y, torch.Generator().manual_seed(k)).value.backward()
        assert network.body[1].num_batches_tracked == 1 + k
    assert network.frozen.num_batches_tracked == 1


@pytest.mark.parametrize("name", [None, *ATTACKS])
def test_accuracy_is_that_of_the_network_that_will_be_used(name: str | None, network: Net) -> None:
    x0, _, y = batch(network, 30)
    attack: Any = None if name is None else ATTACKS[name]

    def score() -> Any:
        return accuracy_by_t(network, x0, y, SCHEDULE, [0, 50], attack=attack, batch_size=29)  # and a batch of one

    found = untouched(network, score)
    network.eval()
    assert found == score()


def test_features_are_those_of_the_network_that_will_be_used() -> None:
    network = build(JudgeConfig(image_size=8, in_channels=1, out_channels=10))
    network(torch.randn(50, 1, 8, 8))
    network.body[1].eval()
    images = batch(network, 9)[0].clamp(-1, 1)
    seen = untouched(network, lambda: extract(images, network, batch_size=8))
    assert torch.equal(seen.features, extract(images, network.eval(), batch_size=8).features)


# --- memory ------------------------------------------------------------------------------------------------------

SIZES: dict[str, Any] = dict(
    image_size=16, in_channels=3, model_channels=16, num_res_blocks=2, channel_mult=(1, 2), attention_resolutions=(2,),
    use_scale_shift_norm=True, resblock_updown=True, dropout=0.3,
)  # fmt: skip
ENCODER = EncoderConfig(out_channels=10, pool="attention", **SIZES)
TRAINED: dict[str, tuple[Any, Any]] = {
    "attacked": (ENCODER, RobustCrossEntropy(PGD(L2(0.5), steps=2))),
    "attacked from a random start": (ENCODER, RobustCrossEntropy(PGD(L2(0.5), steps=2, random_start=True))),
    "denoising": (UNetConfig(out_channels=3, num_classes=10, **SIZES), Denoising(conditional=True)),
}


@pytest.mark.parametrize(("config", "objective"), TRAINED.values(), ids=TRAINED)
@pytest.mark.parametrize("half", [False, True])
def test_what_is_computed_again_has_the_same_gradients(config: Any, objective: Any, half: bool) -> None:
    """Dropout too, and in mixed precision: of a network of random weights, of which none is zero."""
    found = []
    for less in (False, True):
        network = build(config)
        with torch.no_grad():
            for k, parameter in enumerate(network.parameters()):
                parameter += 0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(k))
        generator = torch.Generator().manual_seed(1)
        x0, y = torch.rand(6, 3, 16, 16, generator=generator) * 2 - 1, torch.arange(6)
        torch.manual_seed(5)
        with recomputing(network, less), torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = objective(network, SCHEDULE, x0, y, generator)
        loss.value.backward()
        assert not any(stage.recompute for stage in network.modules() if isinstance(stage, Stage))
        found.append([loss.value.detach(), *(p.grad for p in network.parameters())])
    assert all(float(g.abs().max()) > 0 for g in found[0][1:])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_less_is_kept_meanwhile() -> None:
    """All that the way back needs, against what goes into the stages and what is kept outside them."""

    def kept(less: bool) -> int:
        network, held = build(ENCODER), dict[int, int]()

        def keep(tensor: Tensor) -> Tensor:
            held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        for module in network.modules():
            if less and isinstance(module, Stage):
                module.register_forward_pre_hook(lambda _, given: [keep(tensor) for tensor in given] and None)
        x = torch.rand(8, 3, 16, 16, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), recomputing(network, less):
            logits = network(x, torch.arange(8))
        del logits
        weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
        return sum(size for place, size in held.items() if place not in weights)

    assert kept(True) < 0.25 * kept(False)


def test_a_network_without_stages_says_so() -> None:
    with pytest.raises(ValueError, match="recompute must be False for a Linear"), recomputing(nn.Linear(2, 2)):
        pass
    with recomputing(nn.Linear(2, 2), on=False):
        pass
