"""A new threat model: changes of low frequency alone. Does a classifier that withstands them have a truer gradient?"""

import torch
from keep import REFERENCE, keep

import rgd
from rgd import metrics

schedule, steps = rgd.schedule.linear(1000), 1000 if REFERENCE else 40
world = rgd.truth.digits(schedule).mixture
images, labels = world.sample(10_000, rgd.generator(0))
draws = rgd.data.Dataset(images.float(), labels, tuple("0123456789"), "mixture")
x0, y = world.sample(1000, rgd.generator(1))
t = torch.full_like(y, 300)
xt = schedule.q_sample(x0, t, rgd.noise(x0.shape, seed=2).double())
low = torch.fft.fftfreq(8, 1 / 8).abs() <= 1  # at most one wave across the image, in either direction


class Smooth(rgd.L2):
    """Changes in an L2 ball whose frequencies are low. A sum of such is one, so the ball's projection serves."""

    def direction(self, gradient):
        spectrum = torch.fft.fft2(gradient) * (low[:, None] & low)
        return super().direction(torch.fft.ifft2(spectrum).real)


attacks, found = {"nothing": rgd.PGD(rgd.L2(0.0), 0), "L2": rgd.PGD(rgd.L2(1.0), 3)}, {}
for name, attack in (attacks | {"low frequencies": rgd.PGD(Smooth(1.0), 3)}).items():
    torch.manual_seed(0)
    objective, plan = rgd.objectives.RobustCrossEntropy(attack), rgd.Training(steps, lr=2e-3)
    *_, last = rgd.fit(rgd.truth.MLP(64, 10), objective, draws, schedule, plan)
    cosines = rgd.gradients.cosine(last.network.double().eval(), world.classifier, xt, t, (y + 1) % 10)
    found[f"trained against {name}, cosine"] = metrics.mean(cosines)
keep("threat", found)
