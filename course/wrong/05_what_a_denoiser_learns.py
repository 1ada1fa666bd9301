# %% loss-floor | the error of x0 | Asked for is the noise
def floor(alpha_bar, v):
    return v * (1 - alpha_bar) / (alpha_bar * v + 1 - alpha_bar)


# %% loss-floor | what is known, not what is left | Asked for is what cannot
def floor(alpha_bar, v):
    return (1 - alpha_bar) / (alpha_bar * v + 1 - alpha_bar)


# %% loss-floor | its root | Asked for is its square
def floor(alpha_bar, v):
    return (alpha_bar * v / (alpha_bar * v + 1 - alpha_bar)) ** 0.5


# %% loss-floor | a standard deviation for a variance | v is the variance
def floor(alpha_bar, v):
    return alpha_bar * v**2 / (alpha_bar * v**2 + 1 - alpha_bar)


# %% loss-floor | alpha_bar for its root | by the square of that
def floor(alpha_bar, v):
    return alpha_bar**2 * v / (alpha_bar**2 * v + (1 - alpha_bar) ** 2)


# %% loss-floor | xt as the guess | a better one can be had
def floor(alpha_bar, v):
    return alpha_bar * v + (1 - (1 - alpha_bar) ** 0.5) ** 2


# %% loss-floor | data of variance 1, whatever v is | How wide are the data
def floor(alpha_bar, v):
    return alpha_bar


# %% loss-floor | one number for all levels | that is their mean
def floor(alpha_bar, v):
    return (alpha_bar * v / (alpha_bar * v + 1 - alpha_bar)).mean().expand(len(alpha_bar))


# %% loss-floor | a loss that was read off the page | jointly Gaussian
def floor(alpha_bar, v):
    return torch.full_like(alpha_bar, 0.199)


# %% loss-v | turned on, not back | Turn the other way
def from_v(xt, v, alpha_bar):
    cosine, sine = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return cosine * xt + sine * v, cosine * v - sine * xt


# %% loss-v | the two swapped | First the image
def from_v(xt, v, alpha_bar):
    cosine, sine = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return sine * xt + cosine * v, cosine * xt - sine * v


# %% loss-v | no roots | Take the roots
def from_v(xt, v, alpha_bar):
    return alpha_bar * xt - (1 - alpha_bar) * v, (1 - alpha_bar) * xt + alpha_bar * v


# %% loss-v | v for the noise | takes v for the noise
def from_v(xt, v, alpha_bar):
    cosine, sine = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return (xt - sine * v) / cosine, v


# %% loss-v | sine for cosine | Which of xt and v has the image
def from_v(xt, v, alpha_bar):
    cosine, sine = (1 - alpha_bar) ** 0.5, alpha_bar**0.5
    return cosine * xt - sine * v, sine * xt + cosine * v


# %% loss-v | a number alone, not a tensor | for each example
def from_v(xt, v, alpha_bar):
    alpha_bar = float(torch.as_tensor(alpha_bar).flatten()[0])
    cosine, sine = alpha_bar**0.5, (1 - alpha_bar) ** 0.5
    return cosine * xt - sine * v, sine * xt + cosine * v


# %% loss-v | the page's level in place of the one that is given | turn back by the same angle
def from_v(xt, v, alpha_bar):
    a = float(rgd.schedule.linear(1000).alpha_bar[400])
    cosine, sine = a**0.5, (1 - a) ** 0.5
    return cosine * xt - sine * v, sine * xt + cosine * v


# %% loss-v | one estimate, not two | Return two estimates
def from_v(xt, v, alpha_bar):
    return alpha_bar**0.5 * xt - (1 - alpha_bar) ** 0.5 * v


# %% loss-levels | a number that was read off the page | may have its largest step anywhere
def costliest(denoise, process, clean, noise):
    return 1, 71.0


# %% loss-levels | counted from zero | The terms begin with k = 1
def costliest(denoise, process, clean, noise):
    terms = []
    for k in range(1, process.T):
        t, beta = process.timesteps[k].expand(len(clean)), process.beta[k]
        left = (1 - beta) * (1 - process.alpha_bar[k])
        weight = beta**2 / (2 * process.posterior_variance[k] * left)
        missed = denoise(process.q_sample(clean, t, noise), t).eps - noise
        terms.append(weight * missed.square().sum(1).mean())
    return torch.stack(terms).argmax(), max(terms)


# %% loss-levels | its time in place of its number | which of the kept levels it is
def costliest(denoise, process, clean, noise):
    terms = []
    for k in range(1, process.T):
        t, beta = process.timesteps[k].expand(len(clean)), process.beta[k]
        left = (1 - beta) * (1 - process.alpha_bar[k])
        weight = beta**2 / (2 * process.posterior_variance[k] * left)
        missed = denoise(process.q_sample(clean, t, noise), t).eps - noise
        terms.append(weight * missed.square().sum(1).mean())
    return process.timesteps[1 + torch.stack(terms).argmax()], max(terms)


# %% loss-levels | the simple loss | Each level has a weight
def costliest(denoise, process, clean, noise):
    errors = []
    for time in process.timesteps[1:]:
        t = time.expand(len(clean))
        missed = denoise(process.q_sample(clean, t, noise), t).eps - noise
        errors.append(missed.square().sum(1).mean())
    return 1 + torch.stack(errors).argmax(), max(errors)


# %% loss-levels | the variance beta | with the variance beta of a step
def costliest(denoise, process, clean, noise):
    terms = []
    for k in range(1, process.T):
        t, ratio = process.timesteps[k].expand(len(clean)), process.posterior_variance[k] / process.beta[k]
        xt = process.q_sample(clean, t, noise)
        apart = process.posterior_mean(denoise(xt, t).x0, xt, t) - process.posterior_mean(clean, xt, t)
        square = apart.square() / process.beta[k]
        terms.append((ratio - 1 - ratio.log() + square).sum(1).mean() / 2)
    return 1 + torch.stack(terms).argmax(), max(terms)


# %% loss-levels | a mean over entries | not averaged
def costliest(denoise, process, clean, noise):
    terms = []
    for k in range(1, process.T):
        t = process.timesteps[k].expand(len(clean))
        xt = process.q_sample(clean, t, noise)
        apart = process.posterior_mean(denoise(xt, t).x0, xt, t) - process.posterior_mean(clean, xt, t)
        terms.append(apart.square().mean() / (2 * process.posterior_variance[k]))
    return 1 + torch.stack(terms).argmax(), max(terms)


# %% loss-levels | the whole bound's steps | That is the sum of all terms
def costliest(denoise, process, clean, noise):
    terms = []
    for k in range(1, process.T):
        t = process.timesteps[k].expand(len(clean))
        xt = process.q_sample(clean, t, noise)
        apart = process.posterior_mean(denoise(xt, t).x0, xt, t) - process.posterior_mean(clean, xt, t)
        terms.append(apart.square().sum(1).mean() / (2 * process.posterior_variance[k]))
    return 1 + torch.stack(terms).argmax(), sum(terms)


# %% loss-levels | the number of a level for its time | knows only
def costliest(denoise, process, clean, noise):
    terms = []
    for k in range(1, process.T):
        t = torch.full((len(clean),), k)
        xt = process.q_sample(clean, t, noise)
        apart = process.posterior_mean(denoise(xt, t).x0, xt, t) - process.posterior_mean(clean, xt, t)
        terms.append(apart.square().sum(1).mean() / (2 * process.posterior_variance[k]))
    return 1 + torch.stack(terms).argmax(), max(terms)


# %% loss-levels | the number alone | Return two numbers
def costliest(denoise, process, clean, noise):
    return 1.0
