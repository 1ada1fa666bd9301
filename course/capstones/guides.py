"""Guidance for inpainting, and for two classes at once, where the denoiser and the classifier are exact."""

import torch
from keep import REFERENCE, keep

import rgd
from rgd import metrics

n, steps = (600, 50) if REFERENCE else (40, 25)
world = rgd.truth.digits(rgd.schedule.linear(1000)).mixture
start, zero = rgd.noise((n, 1, 8, 8), seed=0).double(), torch.zeros(n).long()
truth, given = world.sample(n, rgd.generator(1))[0], torch.arange(8) < 4  # the left half of each is shown


def sampled(likelihood, scale=1.0):
    """Samples of the exact denoiser, guided by the gradient of any (xt, t) -> log-likelihood (B,)."""

    def gradient(xt, t, y):
        with torch.enable_grad():
            xt = xt.detach().requires_grad_()
            return torch.autograd.grad(likelihood(xt, t).sum(), xt)[0]

    *_, last = rgd.ddim(rgd.guide(rgd.unconditional(world), gradient, scale), start, zero, steps=steps)
    return last.x


def shown(xt, t):
    """A naive log-likelihood of the half that is given: the estimate of x0 shows it, and errs by about sigma."""
    missed = (world(xt, t).x0 - truth)[..., given].flatten(1).square().sum(dim=1)
    return -missed / (0.1 + world.schedule.at("sigma", t, missed) ** 2)


found, halves = {}, {"given": given, "hidden": ~given}
for name, join in {"or": torch.logsumexp, "and": torch.sum}.items():  # of the log-probabilities of both classes
    drawn = sampled(lambda *at, join=join: join(world.logits(*at).log_softmax(dim=1)[:, [3, 8]], dim=1))
    found |= {f"three {name} eight, read {k}": metrics.share(world.logits(drawn, zero).argmax(1) == k) for k in (3, 8)}
for name, scale in {"unguided": 0.0, "guided": 1.0}.items():
    away = (sampled(shown, scale) - truth).square()
    found |= {f"{name}, error where {k}": metrics.mean(away[..., half].mean((1, 2, 3))) for k, half in halves.items()}
keep("guides", found)
