"""The gradients of CIFAR-10's small classifiers, noise level by noise level."""

from dataclasses import replace

from rgd.lab.study import Study

experiment = Study(
    data="cifar10",
    judge="cifar10/judge",
    denoiser="cifar10/ddpm",
    classifiers=tuple((f"cifar10/{name}", None) for name in ("clean", "vanilla", "robust", "robust_1")),
)
# Small and complete.
quick = replace(experiment, levels=(0, 100, 300), images=100)
