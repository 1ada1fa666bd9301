"""Gradients whose scale the classifier sets itself, image by image and step by step; and one that is asked less often.

Each is a `Gradient`, and `rgd.guide(denoise, ..., scale)` multiplies it as any other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rgd.attacks import Classifier, log_prob
from rgd.denoiser import begin
from rgd.errors import require
from rgd.guidance import Gradient
from rgd.methods.gradients import logits_and_gradient
from rgd.schedule import per_image


def feedback(classifier: Classifier, hesitation: float, prior: Tensor | None = None, most: float = 10.0) -> Gradient:
    """Feedback guidance (Koulischer et al. 2025, arXiv:2506.06085), its ratio taken from the classifier.

    If what the classifier says is (1 - h) p(y | xt) + h p(y), a posterior that hesitates by the share h, then
    r / (r - h) times its gradient is that of p(y | xt), exactly, where r = p_said(y | xt) / p(y): more the less sure it
    is, and 1 where it is sure. No constant scale does this. The scale is cut to `most`, and is `most` where r <= h,
    which no such classifier would say.

    Args:
        classifier: (xt, t) -> logits.
        hesitation: h, in [0, 1).
        prior: p(y) of each class, (K,); by default all alike.
        most: the largest scale.

    Raises:
        ValueError: for a share that is none, or a `most` below 1.
    """
    require(0 <= hesitation < 1, "the share of hesitation", hesitation, "in [0, 1)")
    require(most >= 1, "the largest scale", most, "at least 1")

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        logits, g = logits_and_gradient(classifier, xt, t, y)
        log_prior = logits.new_full(logits.shape[1:], -math.log(logits.shape[1]))
        log_prior = (log_prior if prior is None else prior.to(logits).log())[y]
        beyond = 1 - hesitation * (log_prior - log_prob(logits, y)).exp()  # (r - h) / r
        return per_image((1 / beyond.clamp(min=1 / most)).to(xt), xt) * g

    return gradient


def entropy_scaled(classifier: Classifier, most: float = 10.0) -> Gradient:
    """Entropy-driven guidance (Li et al. 2022, arXiv:2206.11474): the gradient times log K / H(p(. | xt)).

    1 where the classifier knows nothing; larger the surer it is of any class, where a gradient falls silent, up to
    `most`. ValueError for a `most` below 1.
    """
    require(most >= 1, "the largest scale", most, "at least 1")

    def gradient(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        logits, g = logits_and_gradient(classifier, xt, t, y)
        log_p = logits.log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p).sum(1)
        scale = math.log(logits.shape[1]) / entropy.clamp(min=math.log(logits.shape[1]) / most)
        return per_image(scale.to(xt), xt) * g

    return gradient


def grad_log_ratio(discriminator: Classifier) -> Gradient:
    """Discriminator guidance (Kim et al. 2023, arXiv:2211.17091): grad_xt log d / (1 - d), which corrects a model.

    The discriminator is a classifier of two classes, 0 what the model makes and 1 what is real, both noised to t. Where
    it is perfect, the model's score plus this is the score of what is real. Labels are not looked at.
    """

    def gradient(xt: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        real = torch.ones(len(xt), dtype=torch.int64, device=xt.device)
        if hasattr(discriminator, "grad_log_prob"):
            return discriminator.grad_log_prob(xt, t, real) - discriminator.grad_log_prob(xt, t, 1 - real)
        with torch.enable_grad():
            xt = xt.detach().requires_grad_()
            logits = discriminator(xt, t)
            return torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), xt)[0]

    return gradient


@dataclass(frozen=True, eq=False)
class Seldom:
    """A gradient asked at every n-th call of a trajectory; made by `seldom`."""

    gradient: Gradient
    every: int

    def begin(self) -> Gradient:
        """The calls of one trajectory."""
        gradient, calls, last = begin(self.gradient), 0, None

        def now_and_then(xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
            nonlocal calls, last
            if last is None or calls % self.every == 0:
                last = gradient(xt, t, y)
            calls += 1
            return last

        return now_and_then

    def __call__(self, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Outside a trajectory every call is the first."""
        return self.gradient(xt, t, y)


def seldom(gradient: Gradient, every: int = 2) -> Seldom:
    """A gradient asked at every n-th step alone; between, the last answer stands. ValueError unless every >= 1."""
    require(every >= 1, "every", every, "at least 1")
    return Seldom(gradient, every)
