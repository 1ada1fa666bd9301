"""What cheaper robust training buys on MNIST: accuracy under PGD-7, and the gradients, within a radius of 1."""

from dataclasses import replace

from rgd.attacks import L2, PGD
from rgd.lab.study import Study

NAMES = ("vanilla", "free", "fgsm", "fgsm_stop", "pgd3", "robust_1")
experiment = Study(
    data="mnist",
    judge="mnist/judge",
    denoiser="mnist/ddpm",
    classifiers=tuple((f"mnist/{name}", None) for name in NAMES),
    attack=PGD(L2(1.0), steps=7),
)
# Small and complete.
quick = replace(experiment, levels=(0, 100, 300), images=100)
