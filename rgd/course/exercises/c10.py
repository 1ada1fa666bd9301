"""Chapter 10: robust training at every noise level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rgd.attacks import L2, PGD
from rgd.course import worlds
from rgd.course.task import Answer, Task, close, exercise, must
from rgd.randomness import generator
from rgd.training.objectives import NoisyCrossEntropy, draw_xt


@exercise("robust-linear", points=2, minutes=10)
def robust_linear(task: Task, worst_loss: Answer) -> None:
    """The logits' difference 2 w x falls by at most 2 r ||w||."""

    def expected(w: Tensor, x: Tensor, fall: Any) -> Tensor:
        return F.softplus(-2 * (w @ x - fall))

    helps = "The adversary wants the loss to grow: it lowers the logit of the class, and raises the other."
    square = "How far does w x fall if x moves by r in the worst direction? That direction has length 1."
    one = "Both logits move: their difference changes twice as much."

    def ask(rightly: bool, none: str) -> None:
        given, wanted = [], []
        mistakes: dict[str, list[Tensor]] = {helps: [], square: [], one: [], none: []}
        for _ in range(2):
            D, r = task.integer(3, 9), task.uniform(0.1, 0.8)
            w, x = task.normal(D, dtype=torch.float64), task.normal(D, dtype=torch.float64)
            x = x if bool(w @ x > 0) == rightly else -x
            given.append(worst_loss(w, x, r))
            wanted.append(expected(w, x, r * w.norm()))
            falls = {helps: -r * w.norm(), square: r * w.square().sum(), one: r * w.norm() / 2, none: 0.0}
            for said, fall in falls.items():
                mistakes[said].append(expected(w, x, fall))
        close(given, wanted, 1e-4, mistakes)

    with task.check("an image that is read rightly", "Which change of length r lowers w x most? Put it into the loss."):
        ask(True, "This is the loss without an adversary.")
    with task.check("one that is misread already", "The formula is the same for an image that is misread."):
        ask(False, "The maximum is over the whole ball, for an image that is misread too.")


@exercise("robust-leak", points=3, minutes=15)
def robust_leak(task: Task, leaves_traces: Answer) -> None:
    """An attack leaves traces if the weights' gradients are others after it than before."""
    network = worlds.classifier(task, 4, 3)
    batch = task.normal(6, 1, 2, 2, dtype=torch.float64), task.integers(0, 500, 6), task.integers(0, 3, 6)

    def clean(classifier: Any, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return PGD(L2(0.3), steps=2)(classifier, xt, t, y)

    def leaky(classifier: Any, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        x = xt.clone().requires_grad_()
        F.cross_entropy(classifier(x, t), y).backward()
        assert x.grad is not None
        return (xt + 0.3 * L2(1.0).direction(x.grad)).detach()

    def last_layer_alone(classifier: Any, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        last = list(classifier.parameters())[-1]
        loss = F.cross_entropy(classifier(xt, t), y)
        (g,) = torch.autograd.grad(loss, last)
        last.grad = g if last.grad is None else last.grad + g
        return xt

    def forget() -> None:
        network.zero_grad(set_to_none=True)

    def remember() -> None:
        forget()
        F.cross_entropy(network(batch[0], batch[1]), batch[2]).backward()

    with task.check("an attack that leaks", "Attack first; then look at p.grad of the weights."):
        forget()
        must(_truth(leaves_traces(leaky, network, *batch)))
    with task.check(
        "an attack that does not", "An attack by `torch.autograd.grad` with respect to xt leaves p.grad alone."
    ):
        forget()
        must(not _truth(leaves_traces(clean, network, *batch)))
    before = "A network may have gradients already, which are not the attack's. Clear them first, or compare."
    with task.check("gradients of before", before):
        remember()
        must(not _truth(leaves_traces(clean, network, *batch)))
        remember()
        must(_truth(leaves_traces(leaky, network, *batch)))
    with task.check("every weight", "One attack of the test leaks into the last weights alone: look at all of them."):
        forget()
        must(_truth(leaves_traces(last_layer_alone, network, *batch)))


def _truth(given: Any) -> bool:
    """A yes or no, however it is said."""
    must(isinstance(given, bool | int | float | Tensor) or hasattr(given, "dtype"), "Return True or False.")
    return bool(given)


@exercise("robust-rule", points=3, minutes=15)
def robust_rule(task: Task, soft: Answer) -> None:
    """The attack that never stops, scaled image by image by p(y | xt)."""

    def attack(classifier: Any, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return PGD(L2(0.7), steps=3, early_stop=False)(classifier, xt, t, y)

    def ask(shape: tuple[int, ...], n: int) -> None:
        network = worlds.classifier(task, shape[0] * shape[1] * shape[2], 4)
        xt, t, y = task.normal(n, *shape, dtype=torch.float64), task.integers(0, 900, n), task.integers(0, 4, n)
        moved = attack(network, xt, t, y)
        p = network(xt, t).softmax(1).detach()
        share, change = p.gather(1, y[:, None])[:, 0], moved - xt
        after = network(moved, t).softmax(1).detach().gather(1, y[:, None])[:, 0]

        def by(scale: Tensor) -> Tensor:
            return xt + scale.reshape(-1, 1, 1, 1) * change

        mistakes = {
            "The probability is taken at xt, before the attack.": by(after),
            "It is the probability of the image's own class y, not of the likeliest one.": by(p.amax(1)),
            "Each image has its own probability; that is the mean over the batch.": by(share.mean().expand(n)),
            "The reach shrinks with what is *not* known; here it should be the other way.": by(1 - share),
            "Return the attacked images, xt and the change.": by(share) - xt,
            "That is the attack itself: its change is not scaled.": moved,
        }
        close(soft(attack, network, xt, t, y), by(share), 1e-3, mistakes)

    with task.check("images of one channel", "xt, plus p(y | xt) times the change that the attack makes."):
        ask((1, 3, 3), 7)
    with task.check(
        "images of three channels", "p is one number for each image, whatever its shape: reshape it to (-1, 1, 1, 1)."
    ):
        ask((3, 2, 2), 5)
    with task.check(
        "what it costs later",
        "The attacked images are data: no gradient should flow through the probability (torch.no_grad).",
    ):
        network = worlds.classifier(task, 4, 3)
        batch = task.normal(3, 1, 2, 2, dtype=torch.float64), task.integers(0, 900, 3), task.integers(0, 3, 3)
        given = soft(attack, network, *batch)
        must(not (isinstance(given, Tensor) and given.requires_grad))


@exercise("robust-trades", points=4, minutes=30)
def robust_trades(task: Task, make: Answer) -> None:
    """TRADES on xt: cross-entropy at xt, and beta times how far the answer moves under attack."""
    schedule, network = worlds.schedule(task), worlds.classifier(task, 4, 3)
    x0, y, key = task.normal(9, 1, 2, 2, dtype=torch.float64), task.integers(0, 3, 9), task.integer(0, 10**6)

    def attack(classifier: nn.Module, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        return PGD(L2(0.7), steps=3, early_stop=False)(classifier, xt, t, y)  # so that every image is moved

    def given(beta: float) -> Tensor:
        loss = make(attack, beta)(network, schedule, x0, y, generator(key))
        value = loss if isinstance(loss, Tensor) else getattr(loss, "value", None)
        must(isinstance(value, Tensor), "Return rgd.objectives.Loss(value).")
        return value  # type: ignore[return-value]

    def clean_term() -> Tensor:
        return NoisyCrossEntropy()(network, schedule, x0, y, generator(key)).value

    def change(of: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """A divergence of (log p at xt, log p at the attacked xt), (B,), averaged over the batch."""
        xt, t, _ = draw_xt(schedule, x0, generator(key))
        moved = attack(network, xt, t, y)
        return of(network(xt, t).log_softmax(1), network(moved, t).log_softmax(1)).sum(1).mean()

    def kl(p: Tensor, q: Tensor) -> Tensor:
        return p.exp() * (p - q)

    with task.check(
        "without the second term", "With beta = 0 it is the noisy cross-entropy, at what rgd.objectives.draw_xt draws."
    ):
        xt, t, _ = draw_xt(schedule, x0, generator(key))
        moved = F.cross_entropy(network(attack(network, xt, t, y), t), y)
        close(given(0.0), clean_term(), 1e-5, {"The first term is taken at xt, not at the attacked images.": moved})
    with task.check(
        "the second term",
        "It is beta times the divergence of p(. | xt + delta) from p(. | xt), averaged over the images.",
    ):
        beta = task.uniform(1.0, 5.0)
        found = (given(beta) - clean_term()) / beta
        mistakes = {
            "The divergence the other way round: KL is not symmetric, and kl_div takes the SECOND distribution first.":
                change(lambda p, q: kl(q, p)),
            "kl_div averages over classes too, unless reduction='batchmean'.": change(kl) / 3,
            "Averaged over the images, not summed.": change(kl) * len(x0),
            "The second term must be multiplied by beta.": change(kl) / beta,
            "That is the attacked images' cross-entropy; the second term asks only that the answer does not change.":
                change(lambda p, q: -q.gather(1, y[:, None])),
        }  # fmt: skip
        close(found, change(kl), 1e-3, mistakes)
    with task.check(
        "what the weights learn", "Both terms teach, and p(. | xt) does so in both: nothing is detached but the attack."
    ):
        loss, beta = given(2.0), 2.0
        must(loss.requires_grad)
        weights = list(network.parameters())
        learned = torch.autograd.grad(loss, weights, allow_unused=True)
        wanted = torch.autograd.grad(clean_term() + beta * change(kl), weights)
        for mine, right in zip(learned, wanted):
            must(mine is not None)
            close(mine, right, 1e-3)
