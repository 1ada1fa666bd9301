"""Chapter 6: the U-Net, block by block."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from rgd.course.task import Answer, Task, close, exercise, number, ratios
from rgd.networks import ResBlock, UNetConfig


def _field(n: int, k: int) -> int:
    """How many pixels in a row have a say in the middle one: asked of the convolutions themselves."""
    x = torch.zeros(1, 1, 128, requires_grad=True)
    h, ones = x, torch.ones(1, 1, 3)
    for i in range(n):
        h = F.avg_pool1d(h, 2) if i == n - k else h
        h = F.conv1d(h, ones, padding=1)
    return int((torch.autograd.grad(h[0, 0, h.shape[2] // 2], x)[0] != 0).sum())


@exercise("unet-field", points=2, minutes=10)
def unet_field(task: Task, sees: Answer) -> None:
    """What an output pixel depends on has a gradient."""

    def ask(cases: list[tuple[int, int]]) -> None:
        wanted = [_field(n, k) for n, k in cases]
        mistakes = {
            "That is the width without the pooling.": [2 * n + 1 for n, _ in cases],
            "That would be so if all convolutions came after the pooling.": [2 * (2 * n + 1) for n, _ in cases],
            "The convolutions before the pooling reach to both sides.": [2 * (2 * k + 1) + n - k for n, k in cases],
            "The average itself sees two pixels, before any convolution looks further.": [
                2 * (n + k) + 1 for n, k in cases
            ],
            "It is the last k that come after the pooling, and the first n - k before it.": [
                2 * (2 * (n - k) + 1) + 2 * k for n, k in cases
            ],
            "That is how far it sees to one side. Asked for is the width of the field.": [w / 2 for w in wanted],
            "That is the number of pixels in the square. Asked for is its width.": [w**2 for w in wanted],
        }
        close([sees(n, k) for n, k in cases], wanted, 1e-6, mistakes)

    with task.check("one convolution after the pooling", "Go back from the output, a layer at a time."):
        ask([(n, 1) for n in (task.integer(2, 5), task.integer(5, 9))])
    with task.check("several after it", "A step between places below the pooling is two pixels above it."):
        ask([(k + task.integer(1, 5), k) for k in (task.integer(2, 4), task.integer(4, 7))])
    with task.check("all after it", "If k = n, only the pooling looks at the pixels themselves."):
        ask([(n, n) for n in (task.integer(2, 4), task.integer(4, 8))])


@exercise("unet-parameters", points=2, minutes=15)
def unet_parameters(task: Task, parameters: Answer) -> None:
    """The library's block has the same layers, and its parameters can be counted."""

    def ask(wider: bool) -> None:
        cases, wanted = [], []
        for low, high in ((1, 3), (3, 5)):
            narrow, more, model = (32 * task.integer(*some) for some in ((low, high), (1, 4), (low, high)))
            before, after = (narrow, narrow + more) if wider else (narrow + more, narrow)
            config = UNetConfig(
                image_size=8, in_channels=1, out_channels=1, model_channels=model, num_res_blocks=1,
                channel_mult=(1,), attention_resolutions=(), use_scale_shift_norm=True,
            )  # fmt: skip
            with torch.device("meta"):  # a shape is enough to be counted
                block = ResBlock(config, before, after)
            cases.append((before, after, config.embedding_channels))
            wanted.append(sum(p.numel() for p in block.parameters()))

        missing = {
            "The two convolutions have biases, one for each channel that comes out.": lambda b, a, e: 2 * a,
            "The two norms have a scale and a shift for each channel that comes in.": lambda b, a, e: 2 * b + 2 * a,
            "What comes out is wider or narrower than what came in: the short cut is a layer too.":
                lambda b, a, e: b * a + a,
            "The short cut has a bias too.": lambda b, a, e: a,
            "The time comes in as a scale and a shift, two numbers for each channel.": lambda b, a, e: a * (e + 1),
            "The layer of the time has a bias too.": lambda b, a, e: 2 * a,
            "The second convolution has `after` channels on both sides.": lambda b, a, e: 9 * a * (a - b),
            "Look again where `before` stands in the block and where `after` does.":
                lambda b, a, e: (a - b) * (9 * (a + b) + 2 * e + 5),
        }  # fmt: skip
        mistakes = {said: [right - less(*case) for right, case in zip(wanted, cases)] for said, less in missing.items()}
        close([parameters(*case) for case in cases], wanted, 1e-9, mistakes)

    with task.check("a block that widens", "Add up its layers: two norms, two convolutions, the time, the short cut."):
        ask(True)
    with task.check("a block that narrows", "Take the numbers of channels and the width of the time as handed over."):
        ask(False)


@exercise("unet-memory", points=2, minutes=10)
def unet_memory(task: Task, half_life: Answer, decay_for: Answer) -> None:
    """A contribution shrinks by d at each step."""
    with task.check("half-life", "By what factor does a contribution shrink at each step, and in n steps?"):
        given = [(task.uniform(low, high),) for low, high in ((0.5, 0.8), (0.9, 0.98), (0.99, 0.9995))]
        wanted = [-math.log(2) / math.log(d) for (d,) in given]
        mistakes = {
            "A number of steps is positive: which of the two logarithms is negative?": -1.0,
            "In that time the weight falls to 1/e. Asked for is one half.": 1 / math.log(2),
            "That is how long the average remembers roughly; asked for is when a weight has halved.":
                [1 / ((1 - d) * right) for (d,), right in zip(given, wanted)],
            "Half of what it was, which was 1 - d, and not half of everything.":
                [1 - math.log(1 - d) / math.log(d) / right for (d,), right in zip(given, wanted)],
            "Return a real number; do not round it.":
                [math.ceil(right) / right for right in wanted],
        }  # fmt: skip
        ratios(half_life, given, wanted, mistakes)
    with task.check("decay", "Solve the same equation for d."):
        given = [(task.uniform(low, high),) for low, high in ((2, 6), (10, 50), (300, 3000))]
        wanted = [-math.log(2) / steps for (steps,) in given]  # compared by their logarithms: all are nearly 1
        mistakes = {
            "With that decay the weight falls to about 1/e. Asked for is one half.":
                [steps * math.log1p(-1 / steps) / -math.log(2) for (steps,) in given],
            "That falls to exactly 1/e. Asked for is one half.": 1 / math.log(2),
            "That is right for many steps alone. Solve the equation exactly.":
                [steps * math.log1p(-math.log(2) / steps) / -math.log(2) for (steps,) in given],
            "That many steps double a contribution: d is less than one.": -1.0,
        }  # fmt: skip
        ratios(Answer(lambda steps: number(decay_for(steps)).log()), given, wanted, mistakes)
