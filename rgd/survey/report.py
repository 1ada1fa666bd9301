"""Results of a survey as text and as a figure. Where nobody was asked, both say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgd.book import plots
from rgd.measure import Estimate

SIMULATED = "SIMULATED: nobody was asked"


def text(results: Mapping[str, Any]) -> str:
    """The results of `analyse`, in lines."""
    return "\n".join(_lines(results))


def _lines(results: Mapping[str, Any]) -> Iterator[str]:
    if results["simulated"]:
        yield SIMULATED
    for kind, files in results["left_out"].items():
        yield from (f"left out, {kind}: {name} {why}" for name, why in files.items())
    count = len(results["raters"])
    yield f"{count} raters count; their median time was {results['median_ms'] / 1000:.1f} s an answer"
    for one in results["comparisons"]:
        yield f"\n{one['a']} preferred to {one['b']}, {one['raters']} raters, {one['pairs']} pairs"
        yield f"  {'share':>22}  {one['share']}   the honest interval: other raters, other noises"
        yield f"  {'as if independent':>22}  {one['naive']}   Wilson's, too narrow wherever raters or pairs differ"
        if "predicted" in one:
            yield f"  {'by the worths':>22}  {one['predicted']:.3f}"
        yield f"  {'agreement (kappa)':>22}  {one['agreement']}"
        yield f"  {'raters alike':>22}  p = {one['p_raters_alike']:.3g}, by Cochran's Q"
        yield f"  {'classes alike':>22}  p = {one['p_classes_alike']:.3g}, by shuffling pairs"
        yield f"  {'share on the left':>22}  {one['share_on_left']:.3f}, on the right {one['share_on_right']:.3f}"
        yield "  by class, as if independent:"
        yield from (f"  {name:>22}  {share}" for name, share in one["by_class"].items())
    yield f"\nleft was chosen in {results['left']} of the answers"
    yield "worths, as log odds against the first method"
    yield from (f"  {worth}   {name}" for name, worth in results["worths"].items())


def figure(results: Mapping[str, Any]) -> Figure:
    """Shares of each comparison, the honest interval as a line and the naive one as a band; of the first comparison
    also by class and by rater; and worths, where there are more than two methods."""
    two, first = results["comparisons"], results["comparisons"][0]
    panels = 3 + (len(two) > 1 and "none" not in results["worths"])
    longest = max(len(two), len(first["by_class"]), min(20, len(first["by_rater"])))
    fig, axes = plots.figure(1, panels, 3.2 * panels, 1.5 + 0.24 * longest)
    named = {f"{one['a']}\nto {one['b']}": one for one in two}
    told = "preferred: clustered interval,\nand as a band, as if independent"
    _forest(axes[0, 0], {name: one["naive"] for name, one in named.items()}, told, 9, alpha=0.3)
    _forest(axes[0, 0], {name: one["share"] for name, one in named.items()}, told)
    of = f"{first['a']} to {first['b']}"
    _forest(axes[0, 1], first["by_class"], f"by class, as if independent\n{of}")
    by_rater = sorted(first["by_rater"], key=lambda share: share.value)
    _forest(axes[0, 2], {str(k): share for k, share in enumerate(by_rater)}, f"by rater\n{of}", labels=False)
    if panels > 3:
        _forest(axes[0, 3], results["worths"], "worth, log odds", middle=0)
    if results["simulated"]:
        fig.text(0.5, 0.5, "SIMULATED", fontsize=48, color="#882255", alpha=0.3, ha="center", va="center", rotation=12)
    return fig


def _forest(
    ax: Axes, shares: Mapping[str, Estimate], title: str, width: float = 2, alpha: float = 1, middle: float = 0.5,
    labels: bool = True,
) -> None:  # fmt: skip
    """A line for each estimate, the first at the top; what is compared with is grey."""
    ax.axvline(middle, color="0.6")
    for row, one in enumerate(shares.values()):
        ax.plot([one.low, one.high], [row, row], color="#332288", linewidth=width, alpha=alpha, solid_capstyle="butt")
        ax.plot(one.value, row, "o", color="#332288", markersize=5)
    ax.set_yticks(range(len(shares)), [plots.plain(name) for name in shares] if labels else [""] * len(shares))
    ax.set_ylim(len(shares) - 0.5, -0.5)
    ax.set_title(plots.plain(title), fontsize=9)
    if middle:
        ax.set_xlim(-0.02, 1.02)
