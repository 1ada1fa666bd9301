"""One cell of the paper's table: the precision of robust guidance, and by how much it exceeds the vanilla one's."""

import torch
from keep import REFERENCE, keep

import rgd
from rgd import metrics

n = 500 if REFERENCE else 30
real = rgd.data.load("mnist", "few").take(n)  # held-out digits that come with rgd, as many as samples
judge, model = rgd.zoo.load("mnist/judge"), rgd.zoo.load("mnist/conditional")
reference, wanted = metrics.extract(real, judge), torch.arange(n) % 10


def samples(guide, scale):
    """What the judge sees in guided samples; all guides start from the same noise."""
    steered = rgd.guide(model, rgd.grad_log_prob(rgd.zoo.load(f"mnist/{guide}")), scale)
    images = rgd.sample(steered, (n, 1, 28, 28), wanted, sampler=rgd.dpm_solver, steps="quadratic15", progress=False)
    return metrics.extract(images.clamp(-1, 1), judge, labels=wanted)


seen = {guide: samples(guide, 1.0) for guide in ("vanilla", "robust")}
found = {f"precision, {guide}": metrics.estimate("precision", each, reference) for guide, each in seen.items()}
found["robust minus vanilla"] = metrics.paired_difference("precision", seen["robust"], seen["vanilla"], reference)
keep("table", found)
