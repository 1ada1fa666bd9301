"""Vanilla and robust gradients against the exact one: in the plane, in 64 dimensions, and on digits as a mixture."""

from dataclasses import replace

from rgd.lab.truth import Truth

experiment = Truth()
# Small and complete.
quick = replace(
    experiment, radii=(0.0, 0.1), draws=(1500,), seeds=(0,), steps=60, levels=(0, 100, 300), points=200, samples=100
)
