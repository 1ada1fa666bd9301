# %% read-strangers | the mean square, without its root | the root is still to be taken
def typical_cosine(D):
    return 1 / D


def images_needed(mean, D):
    return 4 / (D * mean**2)


# %% read-strangers | the mean size | asked for is the root of the mean square
def typical_cosine(D):
    return (2 / (3.14159265 * D)) ** 0.5


def images_needed(mean, D):
    return 4 / (D * mean**2)


# %% read-strangers | once the standard error | it is to be twice as large
def typical_cosine(D):
    return D**-0.5


def images_needed(mean, D):
    return 1 / (D * mean**2)


# %% read-strangers | a standard error that falls with the number itself | square what you have
def typical_cosine(D):
    return D**-0.5


def images_needed(mean, D):
    return 2 * D**-0.5 / mean


# %% read-strangers | the dimensions of this chapter's images | right for this chapter's images alone
def typical_cosine(D):
    return 784**-0.5


def images_needed(mean, D):
    return (2 * 784**-0.5 / mean) ** 2


# %% read-strangers | a whole number | do not round it
def typical_cosine(D):
    return D**-0.5


def images_needed(mean, D):
    return -(-4 / (D * mean**2) // 1)


# %% read-white | the same share for every ring | Rings are not all as large
def white_spectrum(side):
    return torch.full((side // 2 + 1,), 1 / (side // 2 + 1))


# %% read-white | numbers in place of shares | Shares of them add up to one
def white_spectrum(side):
    f = torch.fft.fftfreq(side, 1 / side)
    ring = (f[:, None] ** 2 + f**2).sqrt().round().long().clamp_max(side // 2)
    return ring.flatten().bincount()


# %% read-white | no corners | The corners count, too
def white_spectrum(side):
    f = torch.fft.fftfreq(side, 1 / side)
    ring = (f[:, None] ** 2 + f**2).sqrt().round().long()
    found = ring.flatten().bincount()[: side // 2 + 1]
    return found / found.sum()


# %% read-white | lengths rounded down | not down
def white_spectrum(side):
    f = torch.fft.fftfreq(side, 1 / side)
    ring = (f[:, None] ** 2 + f**2).sqrt().long().clamp_max(side // 2)
    return ring.flatten().bincount() / side**2


# %% read-white | frequencies of one sign alone | run to both sides of zero
def white_spectrum(side):
    f = torch.arange(side // 2 + 1)
    ring = (f[:, None] ** 2 + f**2).sqrt().round().long().clamp_max(side // 2)
    return ring.flatten().bincount() / (side // 2 + 1) ** 2


# %% read-white | a ring's length for the number in it | Count them
def white_spectrum(side):
    f = torch.arange(side // 2 + 1)
    return f / f.sum()


# %% read-white | this chapter's images, whatever the side | The shape is (15,)
def white_spectrum(side):
    f = torch.fft.fftfreq(28, 1 / 28)
    ring = (f[:, None] ** 2 + f**2).sqrt().round().long().clamp_max(14)
    return ring.flatten().bincount() / 28**2


# %% read-average | the logarithm of the average probability | does not have the average slope
def averaged(first, second):
    return lambda xt, t: ((first(xt, t).softmax(1) + second(xt, t).softmax(1)) / 2).log()


# %% read-average | probabilities in place of logits | Logits are wanted
def averaged(first, second):
    return lambda xt, t: (first(xt, t).softmax(1) + second(xt, t).softmax(1)) / 2


# %% read-average | the sum | twice as long as the average
def averaged(first, second):
    return lambda xt, t: first(xt, t).log_softmax(1) + second(xt, t).log_softmax(1)


# %% read-average | one of the two | the first one alone
def averaged(first, second):
    return first


# %% read-average | a twin under no_grad | Through the second one no gradient flows
def averaged(first, second):
    def logits(xt, t):
        with torch.no_grad():
            other = second(xt, t)
        return (first(xt, t) + other) / 2

    return logits


# %% read-average | both under no_grad | No gradient flows from its logits
def averaged(first, second):
    def logits(xt, t):
        with torch.no_grad():
            return (first(xt, t) + second(xt, t)) / 2

    return logits


# %% read-average | a gradient in place of a classifier | takes (xt, t) and returns logits
def averaged(first, second):
    def gradient(xt, t, y=None):
        y = torch.zeros_like(t) if y is None else y
        return sum(rgd.grad_log_prob(c)(xt, t, y) for c in (first, second)) / 2

    return gradient


# %% read-average | the weights averaged | What is to be averaged
def averaged(first, second):
    import copy

    made = copy.deepcopy(first)
    with torch.no_grad():
        for mine, other in zip(made.parameters(), second.parameters()):
            mine.copy_((mine + other) / 2)
    return made


# %% read-wrong-label | a denoiser that is told the label | must not know the label
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    sigma, guess = denoise.schedule.at("sigma", t, xt), denoise(xt, t, labels)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return 2 * inner - energy


def kept(q):
    return 1 - q


# %% read-wrong-label | the opposite sign | Is the sign right
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    g = denoise.schedule.at("sigma", t, xt) * gradient(xt, t, labels)
    inner = ((eps - denoise(xt, t).eps) * g).flatten(1).sum(1)
    return 2 * inner - g.flatten(1).square().sum(1)


def kept(q):
    return 1 - q


# %% read-wrong-label | the page's schedule | not this page's
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = schedule.q_sample(x0, t, eps)
    sigma, guess = schedule.at("sigma", t, xt), denoise(xt, t)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return 2 * inner - energy


def kept(q):
    return 1 - q


# %% read-wrong-label | the page's schedule in the last step alone | that sigma is of this page's schedule
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    g = schedule.at("sigma", t, xt) * gradient(xt, t, labels)
    inner = ((denoise(xt, t).eps - eps) * g).flatten(1).sum(1)
    return 2 * inner - g.flatten(1).square().sum(1)


def kept(q):
    return 1 - q


# %% read-wrong-label | the first image's level for all | the noise of the first one
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    sigma, guess = denoise.schedule.at("sigma", t[:1], xt), denoise(xt, t)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return 2 * inner - energy


def kept(q):
    return 1 - q


# %% read-wrong-label | one number for the batch | The shape is ()
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    sigma, guess = denoise.schedule.at("sigma", t, xt), denoise(xt, t)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return (2 * inner - energy).mean()


def kept(q):
    return 1 - q


# %% read-wrong-label | one step earlier | all is asked at t
def explained_towards(gradient, denoise, x0, t, eps, labels):
    t = t - 1
    xt = denoise.schedule.q_sample(x0, t, eps)
    sigma, guess = denoise.schedule.at("sigma", t, xt), denoise(xt, t)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return 2 * inner - energy


def kept(q):
    return 1 - q


# %% read-wrong-label | a part of the random labels counted as right | Those that are right by chance are no help
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    sigma, guess = denoise.schedule.at("sigma", t, xt), denoise(xt, t)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return 2 * inner - energy


def kept(q):
    return 1 - q + q / 10


# %% read-wrong-label | random labels that do harm | it only gives nothing
def explained_towards(gradient, denoise, x0, t, eps, labels):
    xt = denoise.schedule.q_sample(x0, t, eps)
    sigma, guess = denoise.schedule.at("sigma", t, xt), denoise(xt, t)
    inner, energy = gradients.match(gradient(xt, t, labels), guess, eps, sigma)
    return 2 * inner - energy


def kept(q):
    return 1 - 2 * q
