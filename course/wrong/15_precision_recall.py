# %% pr-coverage | what is not covered | the share of balls that hold no sample
def limit(k):
    return 2.0**-k


def needed(share):
    return next(k for k in range(1, 99) if 1 - 2.0**-k >= share)


# %% pr-coverage | a factor too few | from j = 1 to k
def limit(k):
    return 1 - 2.0 ** (1 - k)


def needed(share):
    return next(k for k in range(1, 99) if 1 - 2.0**-k >= share)


# %% pr-coverage | numbers for one example alone | What does each of the k factors tend to
def limit(k):
    return 0.875


def needed(share):
    return 7


# %% pr-coverage | k rounded down | below the share, by a little
def limit(k):
    return 1 - 2.0**-k


def needed(share):
    k = 1
    while limit(k + 1) < share:
        k += 1
    return k


# %% pr-coverage | a k that is not whole | a whole number of neighbours
def limit(k):
    return 1 - 2.0**-k


def needed(share):
    return -torch.log2(torch.tensor(1 - share, dtype=torch.float64))


# %% pr-coverage | the natural logarithm | Which base has the logarithm
def limit(k):
    return 1 - 2.0**-k


def needed(share):
    return (-torch.log(torch.tensor(1 - share, dtype=torch.float64))).ceil()


# %% pr-coverage | one more than is needed | One neighbour fewer is enough
def limit(k):
    return 1 - 2.0**-k


def needed(share):
    k = 1
    while limit(k) < share:
        k += 1
    return k + 1


# %% pr-judge | images found by mistake forgotten | in some images that do not show it
def true_accuracy(m, e, classes):
    return m / (1 - e)


# %% pr-judge | one class too many | one fewer than of all
def true_accuracy(m, e, classes):
    return (m - e / classes) / (1 - e - e / classes)


# %% pr-judge | ten classes, however many there are | There are not always ten classes
def true_accuracy(m, e, classes):
    return (m - e / 9) / (1 - e - e / 9)


# %% pr-judge | every misread image taken for the ordered class | in some cases only
def true_accuracy(m, e, classes):
    return (m - e) / (1 - 2 * e)


# %% pr-judge | the judge applied once more | Turn it round
def true_accuracy(m, e, classes):
    return m * (1 - e) + (1 - m) * e / (classes - 1)


# %% pr-judge | the errors added | not a share e of all
def true_accuracy(m, e, classes):
    return m + e


# %% pr-judge | what the judge says | not what is there
def true_accuracy(m, e, classes):
    return m


# %% pr-density | an image taken for its own neighbour | at distance 0, and does not count
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k).values
    return (torch.cdist(samples, centres) <= size).double().sum(dim=1).mean() / k


# %% pr-density | not divided by k | Divide by k.
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k + 1).values
    return (torch.cdist(samples, centres) <= size).double().sum(dim=1).mean()


# %% pr-density | three neighbours, whatever k is | the k that is handed over
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(4).values
    return (torch.cdist(samples, centres) <= size).double().sum(dim=1).mean() / 3


# %% pr-density | a mean over the balls | Average over the samples
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k + 1).values
    return (torch.cdist(samples, centres) <= size).double().sum(dim=0).mean() / k


# %% pr-density | precision | counts once.
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k + 1).values
    return (torch.cdist(samples, centres) <= size).any(dim=1).double().mean()


# %% pr-density | coverage | it counts the balls that hold a sample
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k + 1).values
    return (torch.cdist(samples, centres) <= size).any(dim=0).double().mean()


# %% pr-density | balls around the samples | not around the samples
def density(samples, centres, k=3):
    size = torch.cdist(samples, samples).kthvalue(k + 1).values
    return (torch.cdist(samples, centres) <= size[:, None]).double().sum(dim=1).mean() / k


# %% pr-density | radii along the rows | radii belong to the columns
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k + 1).values
    return (torch.cdist(samples, centres) <= size[:, None]).double().sum(dim=1).mean() / k


# %% pr-density | cut off at one | nothing is cut off
def density(samples, centres, k=3):
    size = torch.cdist(centres, centres).kthvalue(k + 1).values
    balls = (torch.cdist(samples, centres) <= size).double().sum(dim=1)
    return (balls / k).clamp(max=1).mean()


# %% pr-copies | exact copies alone | A copy may be a little noisy
def copies(samples, originals):
    return torch.stack([(sample == originals).flatten(1).all(dim=1).any() for sample in samples])


# %% pr-copies | an original is its own neighbour | as its own neighbour, at distance 0
def copies(samples, originals):
    flat = originals.flatten(1)
    return torch.cdist(samples.flatten(1), flat).min(dim=1).values < torch.cdist(flat, flat).diag().min()


# %% pr-copies | a mean distance for the smallest | it is the *smallest* distance
def copies(samples, originals):
    flat = originals.flatten(1)
    nearest = torch.cdist(flat, flat).fill_diagonal_(torch.inf).min(dim=1).values
    return torch.cdist(samples.flatten(1), flat).min(dim=1).values < nearest.mean()


# %% pr-copies | a threshold from the samples | not among the samples
def copies(samples, originals):
    flat = samples.flatten(1)
    between = torch.cdist(flat, flat).fill_diagonal_(torch.inf).min()
    return torch.cdist(flat, originals.flatten(1)).min(dim=1).values < 0.9 * between


# %% pr-copies | what is no copy | the other way round
def copies(samples, originals):
    flat = originals.flatten(1)
    between = torch.cdist(flat, flat).fill_diagonal_(torch.inf).min()
    return torch.cdist(samples.flatten(1), flat).min(dim=1).values > 0.9 * between


# %% pr-copies | the threshold of one example | in pixels as they are
def copies(samples, originals):
    return torch.cdist(samples.flatten(1), originals.flatten(1)).min(dim=1).values < 1.5


# %% pr-copies | numbers of the copies, not bools | The shape is
def copies(samples, originals):
    flat = originals.flatten(1)
    between = torch.cdist(flat, flat).fill_diagonal_(torch.inf).min()
    return (torch.cdist(samples.flatten(1), flat).min(dim=1).values < 0.9 * between).nonzero()
