# %% unet-field | the pooling forgotten | the width without the pooling
def sees(n, k):
    return 2 * n + 1


# %% unet-field | everything doubled | if all convolutions came after
def sees(n, k):
    return 2 * (2 * n + 1)


# %% unet-field | one side alone before the pooling | reach to both sides
def sees(n, k):
    return 2 * (2 * k + 1) + n - k


# %% unet-field | the average's own two pixels forgotten | The average itself sees two pixels
def sees(n, k):
    return 1 + 2 * (n - k) + 4 * k


# %% unet-field | k before the pooling, in place of after it | It is the last k
def sees(n, k):
    return 2 * (2 * (n - k) + 1) + 2 * k


# %% unet-field | the reach to one side | how far it sees to one side
def sees(n, k):
    return 2 * k + 1 + n - k


# %% unet-field | the page's old cases alone | a layer at a time
def sees(n, k):
    return {(3, 1): 10, (5, 3): 18, (6, 2): 18}.get((n, k), 0)


# %% unet-parameters | no biases of the convolutions | The two convolutions have biases
def parameters(before, after, time_width):
    norms = 2 * before + 2 * after
    convolutions = 9 * before * after + 9 * after**2
    return norms + convolutions + 2 * after * (time_width + 1) + before * after + after


# %% unet-parameters | no norms | The two norms have a scale
def parameters(before, after, time_width):
    convolutions = 9 * before * after + after + 9 * after**2 + after
    return convolutions + 2 * after * (time_width + 1) + before * after + after


# %% unet-parameters | no short cut | the short cut is a layer too
def parameters(before, after, time_width):
    norms = 2 * before + 2 * after
    convolutions = 9 * before * after + after + 9 * after**2 + after
    return norms + convolutions + 2 * after * (time_width + 1)


# %% unet-parameters | a shift by the time, but no scale | two numbers for each channel
def parameters(before, after, time_width):
    norms = 2 * before + 2 * after
    convolutions = 9 * before * after + after + 9 * after**2 + after
    return norms + convolutions + after * (time_width + 1) + before * after + after


# %% unet-parameters | both convolutions alike | has `after` channels on both sides
def parameters(before, after, time_width):
    norms = 2 * before + 2 * after
    convolutions = 2 * (9 * before * after + after)
    return norms + convolutions + 2 * after * (time_width + 1) + before * after + after


# %% unet-parameters | before and after swapped | Look again where `before` stands
def parameters(before, after, time_width):
    before, after = after, before
    norms = 2 * before + 2 * after
    convolutions = 9 * before * after + after + 9 * after**2 + after
    return norms + convolutions + 2 * after * (time_width + 1) + before * after + after


# %% unet-parameters | the width of the time read off the page | the width of the time as handed over
def parameters(before, after, time_width):
    time_width = 128
    norms = 2 * before + 2 * after
    convolutions = 9 * before * after + after + 9 * after**2 + after
    return norms + convolutions + 2 * after * (time_width + 1) + before * after + after


# %% unet-memory | the sign of the logarithm | A number of steps is positive
def half_life(d):
    return torch.tensor(2.0).log() / torch.tensor(d).log()


def decay_for(steps):
    return 0.5 ** (1 / steps)


# %% unet-memory | the time to fall to 1/e | the weight falls to 1/e. Asked
def half_life(d):
    return -1 / torch.tensor(d).log()


def decay_for(steps):
    return 0.5 ** (1 / steps)


# %% unet-memory | the usual rule of thumb | how long the average remembers roughly
def half_life(d):
    return 1 / (1 - d)


def decay_for(steps):
    return 0.5 ** (1 / steps)


# %% unet-memory | half of everything | not half of everything
def half_life(d):
    return (0.5 / (1 - torch.tensor(d))).log() / torch.tensor(d).log()


def decay_for(steps):
    return 0.5 ** (1 / steps)


# %% unet-memory | whole steps | do not round it
def half_life(d):
    return (torch.tensor(0.5).log() / torch.tensor(d).log()).ceil()


def decay_for(steps):
    return 0.5 ** (1 / steps)


# %% unet-memory | the rule of thumb, solved for d | about 1/e
def half_life(d):
    return torch.tensor(0.5).log() / torch.tensor(d).log()


def decay_for(steps):
    return 1 - 1 / steps


# %% unet-memory | right for many steps alone | Solve the equation exactly
def half_life(d):
    return torch.tensor(0.5).log() / torch.tensor(d).log()


def decay_for(steps):
    return 1 - 0.6931 / steps
