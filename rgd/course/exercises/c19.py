"""Chapter 19: from one core to many machines."""

from __future__ import annotations

from rgd.course.task import Answer, Task, close, exercise, must


@exercise("machines-flops", points=2, minutes=15)
def machines_flops(task: Task, convolution: Answer) -> None:
    """Twice the products of each number that comes out."""

    def ask(stride: int = 1, padding: int = 1, groups: int = 1, kernel: int = 3) -> None:
        B, C, out = task.integer(2, 5), groups * task.integer(2, 6), groups * task.integer(7, 10)
        H, W = task.integer(8, 13), task.integer(14, 20)
        rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in (H, W))
        right = 2 * B * out * rows * columns * (C // groups) * kernel**2
        mistakes = {
            "Additions count too: as many as multiplications.": right / 2,
            "That is one image of the batch.": right / B,
            "A kernel is a square: its side counts twice.": right / kernel,
            "Each number that comes out is a sum over the input channels too.": right / (C // groups),
            "Each channel that is put out has its own numbers.": right / out,
            "With groups, an output channel sees only the inputs of its own.": right * groups,
            "The output is smaller by the stride, in both directions.":
                2 * B * out * (C // groups) * kernel**2 * ((H + 2 * padding - kernel) + 1)
                * ((W + 2 * padding - kernel) + 1),
            "How many numbers come out follows from where the kernel fits: not H and W.":
                2 * B * out * (C // groups) * kernel**2 * H * W,
        }  # fmt: skip
        close(convolution((B, C, H, W), out, kernel, stride, padding, groups), right, 1e-9, mistakes)

    with task.check("a plain one", "Numbers that come out, times products for each, times two."):
        ask()
    with task.check("without padding", "The kernel must fit: k - 1 fewer rows and columns come out."):
        ask(padding=0, kernel=5)
    with task.check("with a stride", "The kernel is put down at every second or third place, from the first on."):
        ask(stride=task.integer(2, 4))
    with task.check("in groups", "The channels of a group are all that an output channel sees."):
        ask(groups=task.integer(2, 5))


@exercise("machines-best", points=3, minutes=20)
def machines_best(task: Task, best: Answer) -> None:
    """The least of a sum of what falls and what grows."""

    def ask(T: float, fixed: float, B: float, b: float, delay: float, most: int) -> None:
        def least(divided: float, once: float, sent: float, waits: float) -> tuple[int, float]:
            def seconds(n: int) -> float:
                return divided * T / n + once * fixed + sent * (n - 1) / n * B / b + waits * (n - 1) * delay

            n = min(range(1, most + 1), key=seconds)
            return n, seconds(1) / seconds(n)

        n, times = least(1, 1, 2, 2)
        given = best(T, fixed, B, b, delay, most)
        must(isinstance(given, tuple | list) and len(given) == 2, "Return two numbers: how many, and how much faster.")
        mistakes = {
            "What cannot be divided is in every step.": least(1, 0, 2, 2),
            "The pieces go round twice, to add up and to share.": least(1, 1, 1, 2),
            "Each message is delayed, 2 (n - 1) times.": least(1, 1, 2, 0),
            "The gradient must be sent too.": least(1, 1, 0, 2),
            "That is how many seconds. How many times as fast is one process's time over it.":
                (n, (T + fixed) / times),
            "That is a share of one process's time. Turn it over.": (n, 1 / times),
        }  # fmt: skip
        close(given, (n, times), 1e-6, mistakes)

    T, B = task.uniform(0.8, 1.6), task.uniform(1e8, 3e8)
    with task.check("in between", "Try all of them: it is a short list."):
        ask(T, task.uniform(0.05, 0.1), B, 2e9, task.uniform(3e-3, 6e-3), 64)
    with task.check("too slow to talk", "Where talking takes longer than computing, one process is best."):
        ask(T, 0.05, B, B / (4 * T), 1e-3, 8)
    with task.check("as many as there are", "What still falls at the last number of processes is best there."):
        ask(10 * T, 0.02, B, 1e11, 1e-6, task.integer(5, 9))


@exercise("machines-slots", points=2, minutes=10)
def machines_slots(task: Task, mine: Answer) -> None:
    """Parts by turns, whoever computes."""

    def ask(n: int, turns: int, count: int) -> None:
        slots = turns * count
        size, rank = n * slots, task.integer(1, count) if count > 1 else 0
        right = [list(range(part * n, (part + 1) * n)) for part in range(rank, slots, count)]
        follow = [list(range(part * n, (part + 1) * n)) for part in range(rank * turns, (rank + 1) * turns)]
        mistakes = {
            "Parts go by turns: each process takes the one `count` further on, not the one next to it.": follow,
            "A part is a piece of the batch in one: its positions follow each other.":
                [list(range(part, size, slots)) for part in range(rank, slots, count)],
            "A part is size / slots long.":
                [list(range(part * turns, part * turns + n)) for part in range(rank, slots, count)],
        }  # fmt: skip
        given = mine(size, slots, rank, count)
        must(given != [i for part in right for i in part], "A list of lists: one of each part.")
        must(given != right[:1] or len(right) == 1, "It takes more than one part, where there are more than processes.")
        close(given, right, 1e-9, mistakes)

    with task.check("a part each", "Process `rank` takes part `rank`."):
        ask(task.integer(2, 5), 1, task.integer(3, 5))
    with task.check("several parts each", "rank, rank + count, rank + 2 count, and so on."):
        ask(task.integer(4, 6), 3, task.integer(2, 4))
    with task.check("one process", "It takes them all, one after the other."):
        ask(task.integer(2, 5), task.integer(2, 5), 1)
