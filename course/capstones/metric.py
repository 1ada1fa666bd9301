"""Break the metric: noise that FD-judge cannot tell from real digits. Who would have noticed?"""

import torch
from keep import REFERENCE, keep

import rgd
from rgd import metrics

n, steps = (250, 400) if REFERENCE else (60, 30)
digits = rgd.data.load("mnist", "few")  # five hundred held-out ones, which come with rgd
judge, other = rgd.zoo.load("mnist/judge"), rgd.zoo.load("mnist/vanilla")
(x0, others), (y, of_others) = digits.x0().split(250), digits.labels.split(250)
real, goal = metrics.extract(x0[:n], judge), judge.features(x0[:n]).detach()

start = (0.3 * rgd.noise(x0[:n].shape, seed=0)).requires_grad_()
optimiser = torch.optim.Adam([start], 0.1)
for _ in range(steps):  # until the judge sees in each noise image what it sees in one digit
    loss = (judge.features(start.tanh()) - goal).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

found = {}
for name, images, labels in (("real", others[:n], of_others[:n]), ("forged", start.tanh().detach(), y[:n])):
    seen = metrics.extract(images, judge, labels=labels)
    found |= {f"{name}, {metric}": metrics.estimate(metric, seen, real) for metric in ("fd", "precision", "accuracy")}
    verdicts = other(images, torch.zeros_like(labels)).argmax(dim=1)
    found[f"{name}, accuracy by another network"] = metrics.share(verdicts == labels)
keep("metric", found)
