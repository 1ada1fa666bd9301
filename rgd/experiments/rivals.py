"""Newer ways to use a guide's gradient, as entries of a comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rgd import guidance
from rgd.denoiser import Denoiser
from rgd.errors import one_of
from rgd.experiments.comparison import Drawn
from rgd.methods import contrast, free, scales

Way = Literal["projected", "cfg++", "feedback", "entropy", "weak attention", "training-free", "ratio"]


@dataclass(frozen=True)
class Rival(Drawn):
    """A classifier's gradient used in another way.

    Attributes:
        way: "projected", APG, whose momentum is `setting`; "cfg++"; "feedback", whose hesitation is `setting`;
            "entropy"; "weak attention", where the denoiser is led away from itself without attention too, PAG at the
            scale `setting`; "training-free", TFG, rho the scale and mu `setting` of it; "ratio", a discriminator's.
        setting: see there.
    """

    way: Way = "projected"
    setting: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("the way", self.way, Way)

    def build(self, model: Callable[[str], Any], scale: float) -> Denoiser:
        """The guided denoiser."""
        guided = super().build(model, scale)
        assert isinstance(guided, guidance.Guided)
        if self.way == "projected":
            return contrast.projected(guided, self.setting)
        if self.way == "cfg++":
            return contrast.cfg_plus_plus(guided)
        denoise, gradient, classifier = guided.denoise, guided.gradient, model(self.guide or "")
        if self.way == "training-free":
            return free.training_free(denoise, classifier, scale, scale * self.setting)
        if self.way == "weak attention":
            denoise = guidance.autoguidance(denoise, contrast.perturbed(model(self.denoiser)), 1 + self.setting)
        elif self.way == "feedback":
            gradient = scales.feedback(classifier, self.setting)
        else:
            gradient = scales.entropy_scaled(classifier) if self.way == "entropy" else scales.grad_log_ratio(classifier)
        return guidance.guide(denoise, gradient, scale, self.interval)
