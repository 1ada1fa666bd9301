"""Whose gradient is nearest to the true one on MNIST, where nobody knows it?"""

from dataclasses import replace

from rgd.lab.matching import Matching

experiment = Matching(
    data="mnist",
    denoisers=("mnist/ddpm", "mnist/early"),  # the second was stopped early: how much depends on the denoiser?
    classifiers=(
        "mnist/clean",
        "mnist/vanilla",
        "mnist/robust",
        "mnist/robust_1",
        "mnist/robust_2",
        "mnist/robust_growing",
        "mnist/robust_shrinking",
    ),
    reference="mnist/vanilla",
)
# Small and complete.
quick = replace(experiment, levels=(200, 400, 600), images=250)
