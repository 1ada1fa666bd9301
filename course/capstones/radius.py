"""Radius against distance: which radius of robust training brings the gradient nearest to the exact one?"""

import torch
from keep import REFERENCE, keep

import rgd
from rgd import metrics

schedule = rgd.schedule.linear(1000)
steps, distances, shares = (600, (2.0, 3.0, 4.0), (0.0, 0.1, 0.2, 0.4)) if REFERENCE else (40, (3.0,), (0.0, 0.2))
directions = torch.linalg.qr(torch.randn(16, 16, generator=rgd.generator(0)).double())[0][:5].reshape(5, 1, 1, 16)


def cosine(network, world, level):
    """Between the learned gradient towards the next class and the exact one, point by point at one level."""
    x0, y = world.sample(1000, rgd.generator(1))
    t = torch.full_like(y, level)
    xt = schedule.q_sample(x0, t, rgd.noise(x0.shape, seed=2).double())
    return rgd.gradients.cosine(network, world.classifier, xt, t, (y + 1) % 5)


found = {}
for distance in distances:  # between the means of any two classes
    world = rgd.mixture(distance / 2**0.5 * directions, 0.2, schedule)
    x0, y = world.sample(5000, rgd.generator(3))
    draws = rgd.data.Dataset(x0.float(), y, tuple("01234"), "five classes")
    for share in shares:
        attack = rgd.PGD(rgd.L2(share * distance), steps=3 if share else 0)
        torch.manual_seed(0)
        plan, objective = rgd.Training(steps, lr=2e-3), rgd.objectives.RobustCrossEntropy(attack)
        *_, last = rgd.fit(rgd.truth.MLP(16, 5), objective, draws, schedule, plan)
        network = last.network.double().eval()
        each = torch.cat([cosine(network, world, t) for t in (100, 200, 300, 400)])
        found[f"distance {distance:g}, radius {share:g} of it, cosine"] = metrics.mean(each)
keep("radius", found)
