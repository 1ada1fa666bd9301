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
from rgd.lab.judge import JudgeConfig
from rgd.measure.classifiers import accuracy_by_t
from rgd.measure.features import extract
from rgd.modes import evaluating
from rgd.networks import build

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
