"""The gradients of MNIST's classifiers, noise level by noise level."""

from dataclasses import replace

from rgd.lab.study import Study

experiment = Study(
    data="mnist",
    judge="mnist/judge",
    denoiser="mnist/ddpm",
    classifiers=(
        ("mnist/clean", None),
        ("mnist/vanilla", "mnist/vanilla_twin"),
        ("mnist/robust", "mnist/robust_twin"),
        ("mnist/robust_1", None),
        ("mnist/robust_2", None),
        ("mnist/robust_growing", None),
        ("mnist/robust_shrinking", None),
    ),
)
# Small and complete, with published models alone.
quick = replace(
    experiment, classifiers=tuple((name, None) for name, _ in experiment.classifiers), levels=(0, 100, 300), images=100
)
