# %% edit-up | shares of the variance for factors | get its square root
def up(x, eps, now, then):
    x0 = (x - (1 - now) * eps) / now
    return then * x0 + (1 - then) * eps


# %% edit-up | only as far as x0 | Noise it again
def up(x, eps, now, then):
    return (x - (1 - now) ** 0.5 * eps) / now**0.5


# %% edit-up | the old noise left in | Take that out first
def up(x, eps, now, then):
    return (then / now) ** 0.5 * x + (1 - then) ** 0.5 * eps


# %% edit-up | the other way | from the other level to this one
def up(x, eps, now, then):
    x0 = (x - (1 - then) ** 0.5 * eps) / then**0.5
    return now**0.5 * x0 + (1 - now) ** 0.5 * eps


# %% edit-up | only what the step adds | what is missing after x0 has been found
def up(x, eps, now, then):
    x0 = (x - (1 - now) ** 0.5 * eps) / now**0.5
    return then**0.5 * x0 + max(now - then, 0) ** 0.5 * eps


# %% edit-noise | not divided by sigma | the noise times sigma
def noise_of(aim, x0, eps, now, then, sigma):
    return aim - then**0.5 * x0 - (1 - then - sigma**2) ** 0.5 * eps


# %% edit-noise | divided by the variance | not by its square
def noise_of(aim, x0, eps, now, then, sigma):
    return (aim - then**0.5 * x0 - (1 - then - sigma**2) ** 0.5 * eps) / sigma**2


# %% edit-noise | all of eps kept | less of eps is kept
def noise_of(aim, x0, eps, now, then, sigma):
    return (aim - then**0.5 * x0 - (1 - then) ** 0.5 * eps) / sigma


# %% edit-noise | none of eps kept | is missing from the mean
def noise_of(aim, x0, eps, now, then, sigma):
    return (aim - then**0.5 * x0) / sigma


# %% edit-noise | the wrong sign | taken from the aim
def noise_of(aim, x0, eps, now, then, sigma):
    return (then**0.5 * x0 + (1 - then - sigma**2) ** 0.5 * eps - aim) / sigma


# %% edit-noise | the level it starts from | its factor is sqrt
def noise_of(aim, x0, eps, now, then, sigma):
    return (aim - now**0.5 * x0 - (1 - then - sigma**2) ** 0.5 * eps) / sigma


# %% edit-equal | the nearest scale | the nearest scale
def distance_at(right, far, accuracy):
    return min(zip(right, far), key=lambda pair: abs(pair[0] - accuracy))[1]


# %% edit-equal | the first that is accurate enough | no interpolation
def distance_at(right, far, accuracy):
    return next((d for a, d in sorted(zip(right, far)) if a >= accuracy), float("nan"))


# %% edit-equal | not sorted | Sort by the accuracy first
def distance_at(right, far, accuracy):
    if accuracy > max(right):
        return float("nan")
    weights = torch.tensor(right, dtype=torch.float64)
    import numpy

    return float(numpy.interp(accuracy, weights.numpy(), far))


# %% edit-equal | beyond the last | nothing is known
def distance_at(right, far, accuracy):
    import numpy

    x, y = zip(*sorted(zip(right, far)))
    return float(numpy.interp(accuracy, x, y))
