"""What a classifier's gradient is like: how long, how rough, how close to another's or to the truth.

Each function takes classifiers, (xt, t) -> logits; that of a mixture, `Mixture.classifier`, gives the exact gradient.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rgd.attacks import Classifier, lengths, unit
from rgd.denoiser import Denoiser, Prediction, open_ended
from rgd.guidance import grad_log_prob


def norm(classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """||grad_xt log p(y | xt)||_2, (B,)."""
    return lengths(grad_log_prob(classifier)(xt, t, y))


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    a, b = unit(a).flatten(1), unit(b).flatten(1)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))  # of units, so that only a zero makes it NaN


def cosine(a: Classifier, b: Classifier, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """The cosine between two classifiers' gradients, (B,), in [-1, 1]; NaN where one of them is zero. Between random
    directions in D dimensions it is about 0, give or take 1 / sqrt(D)."""
    return _cosine(*(grad_log_prob(c)(xt, t, y) for c in (a, b)))


def relative_error(classifier: Classifier, truth: Classifier, xt: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """||g - g*|| / ||g*||, (B,): 0 is perfect, 1 is what the answer "no gradient" would score."""
    gradient, exact = (grad_log_prob(c)(xt, t, y) for c in (classifier, truth))
    return lengths(gradient - exact) / lengths(exact)


def match(g: Tensor, guess: Prediction, eps: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Hold a gradient g against the true one g*, which nobody knows, on images whose noise is known: (inner, energy).

    Two numbers an image, (B,). energy is sigma^2 ||g||^2; the mean of inner over (x0, y, eps) is that of
    sigma^2 <g, g*>, because sigma g* is what the noise is expected to be given xt, minus that given xt and y. So

    - `energy - 2 inner` is sigma^2 ||g - g*||^2, up to a number that is the same for every g, and 0 for g = 0;
    - `inner / energy` is, as a ratio of means over images, the scale that brings g nearest to g*.

    Training on the first is denoising likelihood score matching (Chao et al., arXiv:2203.14206).

    g is grad_xt log p(y | xt) for the images' own labels, (B, C, H, W), of images best held out; eps the noise in xt;
    sigma, sqrt(1 - alpha_bar_t), is shaped to multiply g. `guess` is what a denoiser that does not know the class says
    of xt: its errors count only along the mean of g over the labels that xt may have, zero for a calibrated classifier.
    """
    g = sigma * g
    return ((guess.eps - eps) * g).flatten(1).sum(1), g.flatten(1).square().sum(1)


def tangent_share(denoise: Denoiser, g: Tensor, xt: Tensor, t: Tensor) -> Tensor:
    """How much of ||g||^2 lies along the images around xt, as a denoiser knows them: (B,), NaN for a g of zero.

    sqrt(alpha_bar) <g, J g> / ||g||^2, where J = d x0 / d xt is sqrt(alpha_bar) / (1 - alpha_bar) times the covariance
    of x0 given xt. Where images vary along some directions and not along others, sqrt(alpha_bar) J tends, as the noise
    fades, to the projection onto those: their tangent space. In a Gaussian it has the eigenvalue alpha_bar v /
    (alpha_bar v + 1 - alpha_bar) along an axis of variance v; where xt may come from several images, the share may be
    more than 1. Robust classifiers are held to have a large one (Srinivas et al., arXiv:2305.19101). x0 is not cut.
    """
    uncut, u = open_ended(denoise), unit(g)
    with torch.enable_grad():
        xt = xt.detach().requires_grad_()
        (along,) = torch.autograd.grad((uncut(xt, t).x0 * u).sum(), xt)
    share = (denoise.schedule.at("signal", t, xt) * along * u).flatten(1).sum(1)
    return share.detach() / u.flatten(1).any(dim=1)


def steadiness(
    classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor, length: float, generator: torch.Generator
) -> Tensor:
    """The cosine between the gradients at xt and at a random point `length` away (L2, in [-1, 1] units), (B,)."""
    change = length * unit(torch.randn(xt.shape, generator=generator, device=generator.device).to(xt))
    return _cosine(*(grad_log_prob(classifier)(x, t, y) for x in (xt, xt + change)))


def spectrum(gradient: Tensor) -> Tensor:
    """The share of a gradient's energy (B, C, H, W) at each spatial frequency, averaged over images: (H // 2 + 1,).

    Entry f gathers the two-dimensional frequencies whose length rounds to f, in cycles per image; those beyond
    H // 2 (the corners) go to the last. Natural images fall off with f; adversarial noise is flat, so that its energy
    grows with the number of frequencies in a ring. A gradient of zero has no spectrum and does not count; of nothing
    else, all shares are NaN. ValueError unless H = W.
    """
    side = gradient.shape[-1]
    if gradient.shape[-2] != side:
        raise ValueError(f"a spectrum in cycles per image needs square images, not {tuple(gradient.shape[-2:])}")
    gradient = unit(gradient.detach().cpu().double())  # Apple's GPUs have no float64
    gradient = gradient[gradient.flatten(1).any(dim=1)]
    if len(gradient) == 0:
        return torch.full((side // 2 + 1,), math.nan, dtype=torch.float64)
    energy = torch.fft.fft2(gradient).abs().square().sum(dim=1)
    energy = energy / energy.sum(dim=(1, 2), keepdim=True)
    frequency = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    ring = (frequency[:, None] ** 2 + frequency**2).sqrt().round().long().clamp_max(side // 2)
    total = torch.zeros(side // 2 + 1, dtype=torch.float64)
    return total.index_add(0, ring.flatten(), energy.mean(0).flatten())


def ascend(classifier: Classifier, xt: Tensor, t: Tensor, y: Tensor, length: float, steps: int = 20) -> Tensor:
    """xt after a walk of total `length` (L2, in [-1, 1] units) uphill on log p(y | xt), in `steps` equal steps.

    Where it ends shows what the classifier takes for "more like y": an image of y, or adversarial noise.
    """
    gradient = grad_log_prob(classifier)
    for _ in range(steps):
        xt = xt + length / steps * unit(gradient(xt, t, y))
    return xt
