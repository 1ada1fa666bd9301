# %% mixtures-one | away from the mean | turn it round
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (x - a.sqrt() * m) / (a * v + 1 - a)


# %% mixtures-one | the mean of clean data | Noise moves the mean too
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (m - x) / (a * v + 1 - a)


# %% mixtures-one | the mean times alpha_bar | which is not alpha_bar itself
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (a * m - x) / (a * v + 1 - a)


# %% mixtures-one | the variance times the root | in its variance twice
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (a.sqrt() * m - x) / (a.sqrt() * v + 1 - a)


# %% mixtures-one | the variance of clean data | shrinks the variance of the data too
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (a.sqrt() * m - x) / (v + 1 - a)


# %% mixtures-one | no variance of the noise | adds to that of the data
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (a.sqrt() * m - x) / (a * v)


# %% mixtures-one | no variance of the data | a single point
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (a.sqrt() * m - x) / (1 - a)


# %% mixtures-one | the standard deviation below | not the standard deviation
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t][:, None]
    return (a.sqrt() * m - x) / (a * v + 1 - a).sqrt()


# %% mixtures-one | clean data | the score of clean data
def score_of_one(x, t, m, v, schedule):
    return (m - x) / v


# %% mixtures-one | the first point's level for all | that is the first one's
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t[0]]
    return (a.sqrt() * m - x) / (a * v + 1 - a)


# %% mixtures-one | levels laid along the columns | along the columns
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t]
    a = a if len(t) == len(m) else a[:, None]
    return (a.sqrt() * m - x) / (a * v + 1 - a)


# %% mixtures-one | one level earlier | one level earlier
def score_of_one(x, t, m, v, schedule):
    a = schedule.alpha_bar[t - 1][:, None]
    return (a.sqrt() * m - x) / (a * v + 1 - a)


# %% mixtures-one | the page's world in place of the one that is handed over | Which mean and which variance
def score_of_one(x, t, m, v, schedule):
    return world.score(x.reshape(-1, 1, 1, 2), t).reshape(x.shape)


# %% mixtures-three | the opposite sign | towards clean images
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return (xt - a.sqrt() * x0_hat) / (1 - a)


# %% mixtures-three | the noise | That is the noise. Tweedie
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return (xt - a.sqrt() * x0_hat) / (1 - a).sqrt()


# %% mixtures-three | the noise, turned | Which factor has it
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return (a.sqrt() * x0_hat - xt) / (1 - a).sqrt()


# %% mixtures-three | multiplied where it is divided | still to be divided
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    eps = (xt - a.sqrt() * x0_hat) / (1 - a).sqrt()
    return -(1 - a).sqrt() * eps


# %% mixtures-three | from xt straight to the clean image | multiplied the clean image by something
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return (x0_hat - xt) / (1 - a)


# %% mixtures-three | alpha_bar without its root | by the root of alpha_bar
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return (a * x0_hat - xt) / (1 - a)


# %% mixtures-three | levels laid along the columns | along the columns
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t]
    a = a if len(t) == xt.shape[3] else a.reshape(-1, 1, 1, 1)
    return (a.sqrt() * x0_hat - xt) / (1 - a)


# %% mixtures-three | the first image's level for all | that is the first one's
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t[0]]
    return (a.sqrt() * x0_hat - xt) / (1 - a)


# %% mixtures-three | one level earlier | one level earlier
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t - 1].reshape(-1, 1, 1, 1)
    return (a.sqrt() * x0_hat - xt) / (1 - a)


# %% mixtures-three | the page's world and its schedule | Which noise belongs to x0_hat
def score_from_x0(xt, x0_hat, t, schedule):
    return world.score(xt, t)


# %% mixtures-three | right for one entry | a denoiser that errs: not yet. The shape is
def score_from_x0(xt, x0_hat, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return ((a.sqrt() * x0_hat - xt) / (1 - a)).reshape(-1, 1, 1, 2)


# %% mixtures-unsure | the trace of the identity is 1 | the number of dimensions, not 1
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (1 + (1 - a) * hessian.trace())


# %% mixtures-unsure | two dimensions, however many there are | 2 in the plane alone
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (2 + (1 - a) * hessian.trace())


# %% mixtures-unsure | no factor before the bracket | before the bracket is missing
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return len(x) + (1 - a) * hessian.trace()


# %% mixtures-unsure | the factor turned over | before the bracket is turned over
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return a / (1 - a) * (len(x) + (1 - a) * hessian.trace())


# %% mixtures-unsure | sigma in place of its square | not its root
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (len(x) + (1 - a).sqrt() * hessian.trace())


# %% mixtures-unsure | the opposite sign | The Hessian is added
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (len(x) - (1 - a) * hessian.trace())


# %% mixtures-unsure | the Hessian's trace alone | trace of the Hessian alone
def total_variance(score, x, t, schedule):
    return torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x).trace()


# %% mixtures-unsure | no derivative at all | the Hessian is missing
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    return (1 - a) / a * len(x)


# %% mixtures-unsure | the whole matrix | Return one number, the trace
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (torch.eye(len(x)) + (1 - a) * hessian)


# %% mixtures-unsure | one variance in place of their sum | the trace is their sum
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (1 + (1 - a) * hessian.diagonal().mean())


# %% mixtures-unsure | one level earlier | one level earlier
def total_variance(score, x, t, schedule):
    a = schedule.alpha_bar[t - 1]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t - 1)[0], x)
    return (1 - a) / a * (len(x) + (1 - a) * hessian.trace())


# %% mixtures-unsure | the page's level and schedule | and add up its diagonal
def total_variance(score, x, t, schedule):
    a = rgd.schedule.linear(1000).alpha_bar[150]
    hessian = torch.autograd.functional.jacobian(lambda x: score(x[None], t)[0], x)
    return (1 - a) / a * (len(x) + (1 - a) * hessian.trace())


# %% mixtures-unsure | the page's world | those that are handed over
def total_variance(score, x, t, schedule):
    def score(x):
        return world.score(x.reshape(1, 1, 1, 2), torch.tensor([t])).flatten()

    a = schedule.alpha_bar[t]
    hessian = torch.autograd.functional.jacobian(score, x)
    return (1 - a) / a * (len(x) + (1 - a) * hessian.trace())
