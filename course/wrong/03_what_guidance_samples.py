# %% guidance-tilt | p(x) in place of the density of the class | The first factor is that of class 0 alone
def mode(s, m, v, x):
    both = torch.logaddexp(-((x - m) ** 2) / (2 * v), -((x + m) ** 2) / (2 * v))
    return x[(both + s * torch.nn.functional.logsigmoid(2 * m * x / v)).argmax()]


# %% guidance-tilt | half of the distance of the means | How far apart are the two means
def mode(s, m, v, x):
    log_class = torch.nn.functional.logsigmoid(m * x / v)
    return x[(-((x - m) ** 2) / (2 * v) + s * log_class).argmax()]


# %% guidance-tilt | a variance for a standard deviation | v is the variance
def mode(s, m, v, x):
    log_class = torch.nn.functional.logsigmoid(2 * m * x / v**2)
    return x[(-((x - m) ** 2) / (2 * v**2) + s * log_class).argmax()]


# %% guidance-tilt | the mean of the density | Asked for is its mode
def mode(s, m, v, x):
    log_class = torch.nn.functional.logsigmoid(2 * m * x / v)
    return (-((x - m) ** 2) / (2 * v) + s * log_class).softmax(0) @ x


# %% guidance-tilt | the number of the point | Return the point
def mode(s, m, v, x):
    log_class = torch.nn.functional.logsigmoid(2 * m * x / v)
    return (-((x - m) ** 2) / (2 * v) + s * log_class).argmax()


# %% guidance-tilt | the class itself | which nothing has tilted
def mode(s, m, v, x):
    return m


# %% guidance-tilt | a grid of the page's in place of x | in whatever order its points are
def mode(s, m, v, x):
    log_class = torch.nn.functional.logsigmoid(2 * m * x / v)
    best = (-((x - m) ** 2) / (2 * v) + s * log_class).argmax()
    return torch.linspace(-2, 7, 9001, dtype=torch.float64)[best]


# %% guidance-interval | a level read off the page | Which end is good depends on the schedule
def end(distance, T):
    return min(150, T)


# %% guidance-interval | the page's level, whatever T is | Levels go from 0 to T
def end(distance, T):
    return 400


# %% guidance-interval | a share of T, whatever the noise is there | ends at
def end(distance, T):
    return 0.4 * T


# %% guidance-interval | all levels | Where is it to be left out
def end(distance, T):
    return T


# %% guidance-interval | the least distance, not its level | not the distance there
def end(distance, T):
    return min(distance(high) for high in range(T // 10, T, T // 10))


# %% guidance-interval | both ends | Return one number
def end(distance, T):
    return min(((0, high) for high in range(T // 10, T, T // 10)), key=lambda pair: distance(pair[1]))


# %% guidance-same | told the class both times | a guided denoiser hands the label on
def both(denoise, gradient, xt, t, y, s):
    told = rgd.guide(denoise, gradient, s)(xt, t, y).eps
    return told, rgd.guide(denoise, gradient, 1 + s)(xt, t, y).eps


# %% guidance-same | one scale for both | counted once less
def both(denoise, gradient, xt, t, y, s):
    told = rgd.guide(denoise, gradient, s)(xt, t, y).eps
    return told, rgd.guide(rgd.unconditional(denoise), gradient, s)(xt, t, y).eps


# %% guidance-same | the two swapped | First the one that is told
def both(denoise, gradient, xt, t, y, s):
    told = rgd.guide(denoise, gradient, s)(xt, t, y).eps
    return rgd.guide(rgd.unconditional(denoise), gradient, 1 + s)(xt, t, y).eps, told


# %% guidance-same | the world's gradient in place of the one that is given | The world's own is asked for nowhere
def both(denoise, gradient, xt, t, y, s):
    exact = denoise.grad_log_prob
    told = rgd.guide(denoise, exact, s)(xt, t, y).eps
    return told, rgd.guide(rgd.unconditional(denoise), exact, 1 + s)(xt, t, y).eps


# %% guidance-same | the gradient added to the noise | has its sign
def both(denoise, gradient, xt, t, y, s):
    change = denoise.schedule.at("sigma", t, xt) * gradient(xt, t, y)
    return denoise(xt, t, y).eps + s * change, denoise(xt, t).eps + (1 + s) * change


# %% guidance-same | no standard deviation | by the standard deviation of the noise
def both(denoise, gradient, xt, t, y, s):
    g = gradient(xt, t, y)
    return denoise(xt, t, y).eps - s * g, denoise(xt, t).eps - (1 + s) * g


# %% guidance-same | the first one's level for all | Guide the world's denoiser
def both(denoise, gradient, xt, t, y, s):
    t = t[:1].expand(len(t))
    told = rgd.guide(denoise, gradient, s)(xt, t, y).eps
    return told, rgd.guide(rgd.unconditional(denoise), gradient, 1 + s)(xt, t, y).eps
