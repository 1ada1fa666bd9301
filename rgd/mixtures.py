"""The oracle: Gaussian mixtures, for which everything this book speaks of is known in closed form at every t.

If x0 ~ sum_k w_k N(mu_k, S_k), then xt ~ sum_k w_k N(sqrt(alpha_bar) mu_k, alpha_bar S_k + (1 - alpha_bar) I): still a
mixture. A `Mixture` can stand wherever a denoiser, (xt, t, y) -> Prediction, or a classifier is expected.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rgd.denoiser import Prediction
from rgd.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Mixture:
    """A labelled Gaussian mixture as data distribution, noised by a schedule; make one with `mixture`.

    The means are `(K, *shape)`, shape being that of an image, (C, H, W), or (D,). The covariances are given by their
    eigenvalues, `variances` (K, D), D = prod(shape), and eigenvectors, the columns of `axes` (K, D, D), None where they
    are diagonal. `log_weights` (K,) are normalised; `labels` int64 (K,) are the classes of the components.
    """

    schedule: Schedule
    means: Tensor
    variances: Tensor
    axes: Tensor | None
    log_weights: Tensor
    labels: Tensor

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return int(self.labels.max()) + 1

    def _joint(self, xt: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """log w_k N(xt; ...) (B, K), and the score of each component at xt, (B, K, D)."""
        axes = None if self.axes is None else self.axes.to(xt)
        signal, sigma = (self.schedule.at(name, t, xt).reshape(-1, 1, 1) for name in ("signal", "sigma"))
        offset = xt.flatten(1)[:, None] - signal * self.means.to(xt).flatten(1)
        variance = signal**2 * self.variances.to(xt) + sigma**2
        if axes is not None:
            offset = torch.einsum("bkd,kde->bke", offset, axes)
        scaled = offset / variance
        square, volume = (offset * scaled).sum(2), variance.log().sum(2)
        log_density = -0.5 * (square + volume + offset.shape[2] * math.log(2 * math.pi))
        if axes is not None:
            scaled = torch.einsum("bke,kde->bkd", scaled, axes)
        return self.log_weights.to(xt) + log_density, -scaled

    def _given(self, log_joint: Tensor, y: Tensor | None) -> Tensor:
        """log_joint with the components of other classes than y taken out, and the class's weight divided out."""
        if y is None:
            return log_joint
        if y.min() < 0 or y.max() >= self.num_classes:
            raise ValueError(f"this mixture's classes are 0 to {self.num_classes - 1}, not {y.unique().tolist()}")
        member = self.labels.to(y.device) == y[:, None]
        weight = torch.where(member, self.log_weights.to(log_joint), -math.inf).logsumexp(1, keepdim=True)
        return torch.where(member, log_joint, -math.inf) - weight

    def log_prob(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """log p_t(xt), or log p_t(xt | y), (B,)."""
        return self._given(self._joint(xt, t)[0], y).logsumexp(dim=1)

    def score(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """grad_xt of `log_prob`: the components' scores, weighted by their posterior. Shape of xt."""
        log_joint, scores = self._joint(xt, t)
        posterior = self._given(log_joint, y).softmax(dim=1)
        return (posterior[:, :, None] * scores).sum(1).reshape(xt.shape)

    def logits(self, xt: Tensor, t: Tensor) -> Tensor:
        """log p_t(xt, y) for each class y, (B, num_classes): its softmax is the exact class posterior."""
        log_joint = self._joint(xt, t)[0]
        classes = torch.arange(self.num_classes, device=xt.device)
        member = self.labels.to(xt.device) == classes[:, None]
        return torch.where(member, log_joint[:, None], -math.inf).logsumexp(dim=2)

    def grad_log_prob(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """grad_xt log p_t(y | xt), exactly. Shape of xt."""
        if y is None:
            raise ValueError("the gradient of log p(y | xt) points to a class: give labels y, int64 of shape (B,)")
        log_joint, scores = self._joint(xt, t)
        self._given(log_joint, y)  # for its check of y
        if self.num_classes == 1:
            return torch.zeros_like(xt)
        # The conditional score minus the marginal one, written as p(not y | xt) times (the score of y minus that of all
        # else): so it keeps its digits where the class is all but certain.
        member = self.labels.to(y.device) == y[:, None]
        of_y, of_others = (
            (torch.where(chosen, log_joint, -math.inf).softmax(dim=1)[:, :, None] * scores).sum(1)
            for chosen in (member, ~member)
        )
        doubt = torch.where(member, -math.inf, log_joint.log_softmax(dim=1)).logsumexp(dim=1).exp()
        return (doubt[:, None] * (of_y - of_others)).reshape(xt.shape)

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor | None = None) -> Prediction:
        """As a denoiser: eps = -sqrt(1 - alpha_bar) score (Tweedie's formula), with the variance beta."""
        eps = -self.schedule.at("sigma", t, xt) * self.score(xt, t, y)
        return Prediction(self.schedule.x0_from_eps(xt, t, eps), eps, fraction=xt.new_ones(()))

    @property
    def classifier(self) -> MixtureClassifier:
        """The exact classifier: (xt, t) -> logits, with the exact gradient."""
        return MixtureClassifier(self)

    def sample(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """n images x0 `(n, *shape)` and their labels (n,): from the mixture, or from the classes y (n,)."""
        log_weights = self.log_weights.expand(n, -1)
        if y is not None:
            log_weights = torch.where(self.labels == y[:, None], log_weights, -math.inf)
        k = torch.multinomial(log_weights.exp(), 1, generator=generator)[:, 0]
        eps = torch.randn(n, self.variances.shape[1], generator=generator, dtype=self.means.dtype)
        offset = self.variances[k].sqrt() * eps
        if self.axes is not None:
            offset = torch.einsum("be,bde->bd", offset, self.axes[k])
        return self.means[k] + offset.reshape(n, *self.means.shape[1:]), self.labels[k]


@dataclass(frozen=True, eq=False)
class MixtureClassifier:
    """A mixture's class posterior as a classifier, (xt, t) -> logits; `grad_log_prob` is its exact gradient."""

    mixture: Mixture

    def __call__(self, xt: Tensor, t: Tensor) -> Tensor:
        return self.mixture.logits(xt, t)

    def grad_log_prob(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """See `Mixture.grad_log_prob`."""
        return self.mixture.grad_log_prob(xt, t, y)


def mixture(
    means: Tensor, covariances: Tensor | float, schedule: Schedule, labels: Tensor | None = None,
    weights: Tensor | None = None,
) -> Mixture:  # fmt: skip
    """A labelled Gaussian mixture, in the precision of its means `(K, *shape)`.

    The covariances are a variance for all; or one for each component, (K,); or for each axis too, (K, D); or full
    matrices, (K, D, D). Labels are int64 (K,), by default the components' numbers; weights positive (K,), by default
    equal. ValueError for shapes that do not fit, what is not positive, or a class without component.
    """
    means = torch.as_tensor(means)
    means = means if means.is_floating_point() else means.float()
    K, D = len(means), math.prod(means.shape[1:])
    covariance = torch.as_tensor(covariances, dtype=means.dtype)
    axes = None
    if covariance.shape == (K, D, D):
        if not torch.allclose(covariance, covariance.mT):
            raise ValueError("a covariance matrix is symmetric")
        variances, axes = torch.linalg.eigh(covariance)
    elif covariance.shape in ((), (K,), (K, D)):
        variances = covariance.reshape(-1, 1).expand(K, D) if covariance.ndim < 2 else covariance
    else:
        raise ValueError(f"covariances of shape {tuple(covariance.shape)} do not fit {K} components in {D} dimensions")
    labels = torch.arange(K) if labels is None else torch.as_tensor(labels, dtype=torch.int64)
    weights = torch.ones(K) if weights is None else torch.as_tensor(weights)
    if labels.shape != (K,) or weights.shape != (K,):
        raise ValueError(f"{K} components need {K} labels and {K} weights")
    if not (variances > 0).all() or not (weights > 0).all():
        raise ValueError("weights must be positive, and covariances positive definite")
    if labels.unique().tolist() != list(range(int(labels.max()) + 1)):
        raise ValueError(f"classes are numbered from 0 without gaps, not {labels.unique().tolist()}")
    log_weights = weights.to(means.dtype).log().log_softmax(dim=0)
    return Mixture(schedule, means, variances.contiguous(), axes, log_weights, labels)
