# %% fd-round | the variances compared, not the standard deviations | which of them is compared
def round_clouds(m, s):
    return m.square().sum() + len(m) * (1 - s**2) ** 2


# %% fd-round | one dimension stretched, whatever D is | Every one of the D dimensions
def round_clouds(m, s):
    return m.square().sum() + (1 - s) ** 2


# %% fd-round | the root of it | The chapter's distance is squared
def round_clouds(m, s):
    return (m.square().sum() + len(m) * (1 - s) ** 2).sqrt()


# %% fd-round | the means alone | The clouds differ in width too
def round_clouds(m, s):
    return m.square().sum()


# %% fd-round | the widths alone | The clouds are in different places too
def round_clouds(m, s):
    return len(m) * (1 - s) ** 2


# %% fd-round | the length, not its square | with its squared length
def round_clouds(m, s):
    return m.norm() + len(m) * (1 - s) ** 2


# %% fd-round | the 64 dimensions of the page | D is not always 64
def round_clouds(m, s):
    return m.square().sum() + 64 * (1 - s) ** 2


# %% fd-round | the root's trace once, not twice | that of the root twice
def round_clouds(m, s):
    return m.square().sum() + len(m) + len(m) * s**2 - len(m) * s


# %% fd-infinity | right for a second size of twice the first | the second size is twice the first
def at_infinity(d1, n1, d2, n2):
    return 2 * d2 - d1


# %% fd-infinity | the slope for the start | how fast the distance grows
def at_infinity(d1, n1, d2, n2):
    return (d1 - d2) / (1 / n1 - 1 / n2)


# %% fd-infinity | a straight line in n | one in 1 / n
def at_infinity(d1, n1, d2, n2):
    return d1 - n1 * (d2 - d1) / (n2 - n1)


# %% fd-infinity | the mean of all images' distances | That lies between the two
def at_infinity(d1, n1, d2, n2):
    return (n1 * d1 + n2 * d2) / (n1 + n2)


# %% fd-infinity | the larger sample's distance | is too large as well
def at_infinity(d1, n1, d2, n2):
    return d2 if n2 > n1 else d1


# %% fd-infinity | a sum for a difference | the equations are subtracted
def at_infinity(d1, n1, d2, n2):
    return (n1 * d1 - n2 * d2) / (n1 + n2)


# %% fd-infinity | a number for one example alone | Remove c
def at_infinity(d1, n1, d2, n2):
    return 3.0


# %% fd-fool | a normal distribution itself | nearer to the origin
def impostor(n, D, generator):
    return torch.randn(n, D, generator=generator)


# %% fd-fool | a sphere of radius 1 | The variance of each coordinate
def impostor(n, D, generator):
    points = torch.randn(n, D, generator=generator)
    return points / points.norm(dim=1, keepdim=True)


# %% fd-fool | one coin for all coordinates | The coordinates are correlated
def impostor(n, D, generator):
    coins = torch.rand(n, 1, generator=generator) < 0.5
    return (coins.double() * 2 - 1).expand(n, D)


# %% fd-fool | coins of zero and one | The mean should be 0
def impostor(n, D, generator):
    return (torch.rand(n, D, generator=generator) < 0.5).double()


# %% fd-fool | the numbers of one example | The shape is (2000, 4)
def impostor(n, D, generator):
    return (torch.rand(2000, 4, generator=generator) < 0.5).double() * 2 - 1


# %% fd-isc | the two swapped | the largest comes first
def best_and_worst(n, classes):
    sure = 30 * F.one_hot(torch.arange(n) % classes, classes)
    return torch.zeros(n, classes), sure


# %% fd-isc | sure, but of one class for all | all should have as much
def best_and_worst(n, classes):
    sure = 30 * F.one_hot(torch.zeros(n).long(), classes)
    return sure, torch.zeros(n, classes)


# %% fd-isc | probabilities for logits | Logits are not probabilities
def best_and_worst(n, classes):
    sure = F.one_hot(torch.arange(n) % classes, classes)
    return sure, torch.zeros(n, classes)


# %% fd-isc | the ten classes of the digits | The shape of the first is
def best_and_worst(n, classes):
    return 30 * F.one_hot(torch.arange(100) % 10, 10), torch.zeros(100, 10)


# %% fd-isc | unsure, but of another class each time | the answers differ from image to image
def best_and_worst(n, classes):
    sure = F.one_hot(torch.arange(n) % classes, classes)
    return 30 * sure, 2 * sure


# %% fd-isc | infinite logits | is not a number
def best_and_worst(n, classes):
    sure = F.one_hot(torch.arange(n) % classes, classes)
    return torch.where(sure == 1, torch.inf, 0.0), torch.zeros(n, classes)
