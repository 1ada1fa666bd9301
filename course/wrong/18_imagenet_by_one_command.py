# %% scale-bill | seconds | Those are seconds
def bill(unet, classifier, guided, images, steps, peak, share, price, gpus):
    seconds = images * steps * (unet + guided * classifier) / (peak * share)
    return seconds / gpus, seconds * price


# %% scale-bill | the whole peak | only its share
def bill(unet, classifier, guided, images, steps, peak, share, price, gpus):
    hours = images * steps * (unet + guided * classifier) / peak / 3600
    return hours / gpus, hours * price


# %% scale-bill | a classifier always | and there alone
def bill(unet, classifier, guided, images, steps, peak, share, price, gpus):
    hours = images * steps * (unet + (1 - guided) * classifier) / (peak * share) / 3600
    return hours / gpus, hours * price


# %% scale-bill | one step | all of the steps
def bill(unet, classifier, guided, images, steps, peak, share, price, gpus):
    hours = images * (unet + guided * classifier) / (peak * share) / 3600
    return hours / gpus, hours * price


# %% scale-bill | many devices for the price of one | for each of the devices
def bill(unet, classifier, guided, images, steps, peak, share, price, gpus):
    hours = images * steps * (unet + guided * classifier) / (peak * share) / 3600 / gpus
    return hours, hours * price


# %% scale-bill | hours that are not shared | share the images
def bill(unet, classifier, guided, images, steps, peak, share, price, gpus):
    hours = images * steps * (unet + guided * classifier) / (peak * share) / 3600
    return hours, hours * price


# %% scale-bias | the mean alone | The covariance is estimated too
def bias(values, n):
    return values.sum() / n


# %% scale-bias | the covariance alone | The mean is estimated too
def bias(values, n):
    pairs = values[:, None] * values / (values[:, None] + values)
    return (pairs.sum() + pairs.diag().sum()) / (2 * n)


# %% scale-bias | the diagonal as any entry | varies twice as much
def bias(values, n):
    pairs = values[:, None] * values / (values[:, None] + values)
    return values.sum() / n + pairs.sum() / (2 * n)


# %% scale-bias | not halved | is halved
def bias(values, n):
    pairs = values[:, None] * values / (values[:, None] + values)
    return values.sum() / n + (pairs.sum() + pairs.diag().sum()) / n


# %% scale-bias | the root of n | not as its root
def bias(values, n):
    pairs = values[:, None] * values / (values[:, None] + values)
    return (values.sum() + (pairs.sum() + pairs.diag().sum()) / 2) / n**0.5


# %% scale-bias | a flat spectrum | if all eigenvalues are 1
def bias(values, n):
    D = len(values)
    return D / n + D * (D + 1) / (4 * n)


# %% scale-mine | what is there too | are there already
def mine(n, size, kept, rank, count):
    return list(range(0, n, size))[rank::count]


# %% scale-mine | dealt before looking | deals all pieces out first
def mine(n, size, kept, rank, count):
    return [first for first in list(range(0, n, size))[rank::count] if first not in kept]


# %% scale-mine | a block each | a block for each process
def mine(n, size, kept, rank, count):
    left = [first for first in range(0, n, size) if first not in kept]
    return left[len(left) * rank // count : len(left) * (rank + 1) // count]


# %% scale-mine | all that is left | would draw it too
def mine(n, size, kept, rank, count):
    return [first for first in range(0, n, size) if first not in kept]


# %% scale-mine | numbers of pieces | by their first image
def mine(n, size, kept, rank, count):
    return [first // size for first in range(0, n, size) if first not in kept][rank::count]


# %% scale-mine | no last piece | belongs to somebody too
def mine(n, size, kept, rank, count):
    return [first for first in range(0, n - size + 1, size) if first not in kept][rank::count]
