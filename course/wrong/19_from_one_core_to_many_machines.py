# %% machines-flops | multiplications alone | Additions count too
def convolution(shape, out, kernel, stride, padding, groups):
    B, C, H, W = shape
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in (H, W))
    return B * out * rows * columns * (C // groups) * kernel**2


# %% machines-flops | one image | one image of the batch
def convolution(shape, out, kernel, stride, padding, groups):
    B, C, H, W = shape
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in (H, W))
    return 2 * out * rows * columns * (C // groups) * kernel**2


# %% machines-flops | a line for a kernel | its side counts twice
def convolution(shape, out, kernel, stride, padding, groups):
    B, C, H, W = shape
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in (H, W))
    return 2 * B * out * rows * columns * (C // groups) * kernel


# %% machines-flops | all channels in every group | sees only the inputs of its own
def convolution(shape, out, kernel, stride, padding, groups):
    B, C, H, W = shape
    rows, columns = ((n + 2 * padding - kernel) // stride + 1 for n in (H, W))
    return 2 * B * out * rows * columns * C * kernel**2


# %% machines-flops | no stride | smaller by the stride
def convolution(shape, out, kernel, stride, padding, groups):
    B, C, H, W = shape
    rows, columns = (n + 2 * padding - kernel + 1 for n in (H, W))
    return 2 * B * out * rows * columns * (C // groups) * kernel**2


# %% machines-flops | the input's size | not H and W
def convolution(shape, out, kernel, stride, padding, groups):
    B, C, H, W = shape
    return 2 * B * out * H * W * (C // groups) * kernel**2


# %% machines-best | all is divided | is in every step
def best(T, fixed, B, b, delay, most):
    def seconds(n):
        return T / n + 2 * (n - 1) / n * B / b + 2 * (n - 1) * delay

    n = min(range(1, most + 1), key=seconds)
    return n, seconds(1) / seconds(n)


# %% machines-best | once round | go round twice
def best(T, fixed, B, b, delay, most):
    def seconds(n):
        return T / n + fixed + (n - 1) / n * B / b + 2 * (n - 1) * delay

    n = min(range(1, most + 1), key=seconds)
    return n, seconds(1) / seconds(n)


# %% machines-best | no delay | Each message is delayed
def best(T, fixed, B, b, delay, most):
    def seconds(n):
        return T / n + fixed + 2 * (n - 1) / n * B / b

    n = min(range(1, most + 1), key=seconds)
    return n, seconds(1) / seconds(n)


# %% machines-best | nothing is sent | must be sent too
def best(T, fixed, B, b, delay, most):
    def seconds(n):
        return T / n + fixed + 2 * (n - 1) * delay

    n = min(range(1, most + 1), key=seconds)
    return n, seconds(1) / seconds(n)


# %% machines-best | seconds | That is how many seconds
def best(T, fixed, B, b, delay, most):
    def seconds(n):
        return T / n + fixed + 2 * (n - 1) / n * B / b + 2 * (n - 1) * delay

    n = min(range(1, most + 1), key=seconds)
    return n, seconds(n)


# %% machines-best | upside down | Turn it over
def best(T, fixed, B, b, delay, most):
    def seconds(n):
        return T / n + fixed + 2 * (n - 1) / n * B / b + 2 * (n - 1) * delay

    n = min(range(1, most + 1), key=seconds)
    return n, seconds(n) / seconds(1)


# %% machines-slots | neighbours | Parts go by turns
def mine(size, slots, rank, count):
    n, turns = size // slots, slots // count
    return [list(range(p * n, (p + 1) * n)) for p in range(rank * turns, (rank + 1) * turns)]


# %% machines-slots | every so many | its positions follow each other
def mine(size, slots, rank, count):
    return [list(range(part, size, slots)) for part in range(rank, slots, count)]


# %% machines-slots | one list | one of each part
def mine(size, slots, rank, count):
    n = size // slots
    return [i for part in range(rank, slots, count) for i in range(part * n, (part + 1) * n)]


# %% machines-slots | the first alone | more than one part
def mine(size, slots, rank, count):
    n = size // slots
    return [list(range(rank * n, (rank + 1) * n))]
