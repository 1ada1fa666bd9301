# %% sampling-forms | the factor turned over | turn it over
def harder(now, before):
    return (now / before).sqrt() * (1 - before) / (1 - now)


# %% sampling-forms | the upper bound | asked for is the lower one
def harder(now, before):
    return (before / now).sqrt()


# %% sampling-forms | without alpha_t | has a root of alpha_t below it
def harder(now, before):
    return (1 - now) / (1 - before)


# %% sampling-forms | alpha_t upside down | it is not a factor
def harder(now, before):
    return (now / before).sqrt() * (1 - now) / (1 - before)


# %% sampling-forms | alpha_t without its root | has its root
def harder(now, before):
    return (before / now) * (1 - now) / (1 - before)


# %% sampling-push | a length that forgets what guidance multiplies by | must make up for that
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        return r * length * rgd.L2(1.0).direction(push(xt, t, y))

    return gradient


# %% sampling-push | divided by 1 - alpha_bar, not by its root | It is the root of 1 - alpha_bar
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        variance = denoise.schedule.at("sigma", t, xt) ** 2
        return r * length / variance * rgd.L2(1.0).direction(push(xt, t, y))

    return gradient


# %% sampling-push | the whole batch's lengths | those are of the whole batch
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        g, eps = push(xt, t, y), denoise(xt, t).eps
        return r * eps.norm() / g.norm() / denoise.schedule.at("sigma", t, xt) * g

    return gradient


# %% sampling-push | not along `push` at its own length, but as it is | Divide `push` by its own length
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        return r * length / denoise.schedule.at("sigma", t, xt) * push(xt, t, y)

    return gradient


# %% sampling-push | one level for the batch | the noise of the first one
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        sigma = denoise.schedule.at("sigma", t, xt)[0]
        return r * length / sigma * rgd.L2(1.0).direction(push(xt, t, y))

    return gradient


# %% sampling-push | the share that the page's example has | The share is `r`
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        return length / denoise.schedule.at("sigma", t, xt) * rgd.L2(1.0).direction(push(xt, t, y))

    return gradient


# %% sampling-push | with the sign of what is added to eps | guidance turns its sign by itself
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        return -r * length / denoise.schedule.at("sigma", t, xt) * rgd.L2(1.0).direction(push(xt, t, y))

    return gradient


# %% sampling-push | a denoiser that is told the class | without being told the class
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        eps = denoise(xt, t, y).eps
        length = eps.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        return r * length / denoise.schedule.at("sigma", t, xt) * rgd.L2(1.0).direction(push(xt, t, y))

    return gradient


# %% sampling-push | zero divided by zero | 0 / 0 is not a number
def normalised(denoise, push, r):
    def gradient(xt, t, y):
        g, eps = push(xt, t, y), denoise(xt, t).eps
        lengths = [v.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) for v in (g, eps)]
        return r * lengths[1] / lengths[0] / denoise.schedule.at("sigma", t, xt) * g

    return gradient


# %% sampling-schedule | scales along the columns | laid the scales along the columns
def scheduled(push, scale_of):
    def gradient(xt, t, y):
        return scale_of(t) * push(xt, t, y)

    return gradient


# %% sampling-schedule | the mean over the batch | that is the mean over the batch
def scheduled(push, scale_of):
    def gradient(xt, t, y):
        return scale_of(t).mean() * push(xt, t, y)

    return gradient


# %% sampling-schedule | the first image's scale | that is the first one's
def scheduled(push, scale_of):
    def gradient(xt, t, y):
        return scale_of(t)[0] * push(xt, t, y)

    return gradient


# %% sampling-schedule | t - 1 for t | the scale one step earlier
def scheduled(push, scale_of):
    def gradient(xt, t, y):
        return scale_of(t - 1).reshape(-1, 1, 1, 1) * push(xt, t, y)

    return gradient


# %% sampling-schedule | added | it is not added
def scheduled(push, scale_of):
    def gradient(xt, t, y):
        return scale_of(t).reshape(-1, 1, 1, 1) + push(xt, t, y)

    return gradient


# %% sampling-noise | one or the other fails | one or the other fails.
def both_fail(first, second):
    return (first | second).double().mean(), first.double().mean() * second.double().mean()


# %% sampling-noise | the number of images | Those are numbers of images; divide
def both_fail(first, second):
    return (first & second).sum(), first.double().mean() * second.double().mean()


# %% sampling-noise | the share among the first's failures | in which the first fails; take it
def both_fail(first, second):
    return second[first].double().mean(), first.double().mean() * second.double().mean()


# %% sampling-noise | true taken for success | in which both succeed
def both_fail(first, second):
    joint = (~first & ~second).double().mean()
    return joint, first.double().mean() * second.double().mean()


# %% sampling-noise | the same share twice | it comes first
def both_fail(first, second):
    joint = (first & second).double().mean()
    return joint, joint


# %% sampling-noise | the first's share, squared | each with its own
def both_fail(first, second):
    return (first & second).double().mean(), first.double().mean() ** 2
