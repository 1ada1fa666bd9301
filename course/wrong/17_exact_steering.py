# %% steer-effective | the sum of the squares | one over it
def effective(log_w):
    return log_w.softmax(dim=1).square().sum(dim=1)


# %% steer-effective | normalised over all islands | its weights sum to one over its own walkers
def effective(log_w):
    w = log_w.flatten().softmax(0).reshape(log_w.shape)
    return 1 / w.square().sum(dim=1)


# %% steer-effective | exponentials of the logarithms as they are | take the greatest logarithm out
def effective(log_w):
    w = log_w.exp()
    return w.sum(dim=1) ** 2 / w.square().sum(dim=1)


# %% steer-effective | a share | not their number
def effective(log_w):
    return 1 / log_w.softmax(dim=1).square().mean(dim=1) / log_w.shape[1] ** 2


# %% steer-effective | the entropy's number | another number of the kind
def effective(log_w):
    w = log_w.softmax(dim=1)
    return torch.special.entr(w).sum(dim=1).exp()


# %% steer-effective | all islands as one | in all of the islands together
def effective(log_w):
    w = log_w.flatten().softmax(0)
    return (1 / w.square().sum()).expand(len(log_w))


# %% steer-effective | times the logarithm, which may be infinite | counts nothing
def effective(log_w):
    twice = (2 * log_w - 2 * log_w.mean(dim=1, keepdim=True)).logsumexp(dim=1)
    return (2 * (log_w - log_w.mean(dim=1, keepdim=True)).logsumexp(dim=1) - twice).exp()


# %% steer-worth | the densities the wrong way round | that of the guided one below
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    def log_density(mean):
        return -((arrived - mean) ** 2).flatten(1).sum(1) / (2 * sigma**2)

    return log_density(went) - log_density(plain) + s_next * after - s * before


# %% steer-worth | no potentials | What the class gains is missing
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).sum(1) for mean in (plain, went))
    return (b - a) / (2 * sigma**2)


# %% steer-worth | no densities | more likely the plain step is
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    return s_next * after - s * before


# %% steer-worth | one scale | the scale of its own level
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).sum(1) for mean in (plain, went))
    return (b - a) / (2 * sigma**2) + s * (after - before)


# %% steer-worth | half of the exponent forgotten | divided by twice the variance
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).sum(1) for mean in (plain, went))
    return (b - a) / sigma**2 + s_next * after - s * before


# %% steer-worth | sigma taken for the variance | sigma is a standard deviation
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).sum(1) for mean in (plain, went))
    return (b - a) / (2 * sigma) + s_next * after - s * before


# %% steer-worth | the mean over the pixels | their densities multiply
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).mean(1) for mean in (plain, went))
    return (b - a) / (2 * sigma**2) + s_next * after - s * before


# %% steer-worth | the sum over the batch | not one for all
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).sum(1) for mean in (plain, went))
    w = (b - a) / (2 * sigma**2) + s_next * after - s * before
    return w.sum().expand(len(w))


# %% steer-worth | not the logarithm | Return its logarithm
def worth(arrived, went, plain, sigma, before, after, s, s_next):
    a, b = (((arrived - mean) ** 2).flatten(1).sum(1) for mean in (plain, went))
    return ((b - a) / (2 * sigma**2) + s_next * after - s * before).exp()


# %% steer-keep | all factors | is in the samples already
def keep(log_p, u, s):
    return u < (s * log_p).exp()


# %% steer-keep | what is thrown away | That is what is thrown away
def keep(log_p, u, s):
    return u >= ((s - 1) * log_p).exp()


# %% steer-keep | the best, without chance | left to u
def keep(log_p, u, s):
    return ((s - 1) * log_p).exp() > 0.5


# %% steer-keep | by the greatest of the set | nothing is divided by the greatest
def keep(log_p, u, s):
    return u < ((s - 1) * (log_p - log_p.max())).exp()


# %% steer-keep | a multiple in place of a power | rather than multiplying
def keep(log_p, u, s):
    return u < (s - 1) * log_p.exp()


# %% steer-keep | a logarithm for a probability | log_p is a logarithm
def keep(log_p, u, s):
    return u < (s - 1) * log_p
