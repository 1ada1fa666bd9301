# %% time-best | how often it is wrong | is wrong
def best_accuracy(length, alpha_bar):
    z = math.sqrt(alpha_bar) * length / math.sqrt(1 - alpha_bar)
    return 0.5 * (1 - math.erf(z / math.sqrt(2)))


# %% time-best | the image's share without its root | multiplied by the root
def best_accuracy(length, alpha_bar):
    z = alpha_bar * length / math.sqrt(1 - alpha_bar)
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


# %% time-best | the variance of the noise for its standard deviation | take its standard deviation
def best_accuracy(length, alpha_bar):
    z = math.sqrt(alpha_bar) * length / (1 - alpha_bar)
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


# %% time-best | the distance between the means | halfway between
def best_accuracy(length, alpha_bar):
    z = 2 * math.sqrt(alpha_bar) * length / math.sqrt(1 - alpha_bar)
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


# %% time-best | erf for the distribution of a normal number | mind the root of 2
def best_accuracy(length, alpha_bar):
    z = math.sqrt(alpha_bar) * length / math.sqrt(1 - alpha_bar)
    return 0.5 * (1 + math.erf(z))


# %% time-best | noise of standard deviation one at every level | which is not one
def best_accuracy(length, alpha_bar):
    return 0.5 * (1 + math.erf(math.sqrt(alpha_bar) * length / math.sqrt(2)))


# %% time-best | means that stay where they are | nearer to each other
def best_accuracy(length, alpha_bar):
    return 0.5 * (1 + math.erf(length / math.sqrt(1 - alpha_bar) / math.sqrt(2)))


# %% time-best | the posterior at a mean for the accuracy | how sure one may be
def best_accuracy(length, alpha_bar):
    return 1 / (1 + math.exp(-2 * alpha_bar * length**2 / (1 - alpha_bar)))


# %% time-best | right for one length and one level alone | How is it distributed
def best_accuracy(length, alpha_bar):
    return 0.7734


# %% time-bits | nats for bits | of which one has 1.44 bits
def bits(logits, y):
    return math.log(logits.shape[1]) - F.cross_entropy(logits, y)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log(f.shape[1]) / 2)


# %% time-bits | ten classes, whatever the logits say | not always ten
def bits(logits, y):
    return (math.log(10) - F.cross_entropy(logits, y)) / math.log(2)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log2(10) / 2)


# %% time-bits | a sum over the images | Average over the images
def bits(logits, y):
    return (math.log(logits.shape[1]) - F.cross_entropy(logits, y, reduction="none")).sum() / math.log(2)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) / len(y) < math.log2(f.shape[1]) / 2)


# %% time-bits | the entropy of the answer for the cross-entropy | be it right or wrong
def bits(logits, y):
    p = logits.softmax(1)
    return math.log2(logits.shape[1]) + (p * p.log2()).sum(1).mean()


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log2(f.shape[1]) / 2)


# %% time-bits | the logarithm of a mean | Average the logarithms
def bits(logits, y):
    p = logits.softmax(1).gather(1, y[:, None])
    return (logits.shape[1] * p.mean()).log2()


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log2(f.shape[1]) / 2)


# %% time-bits | the cross-entropy alone | That is what is not known
def bits(logits, y):
    return F.cross_entropy(logits, y) / math.log(2)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) > math.log2(f.shape[1]) / 2)


# %% time-bits | never below zero | let it be negative
def bits(logits, y):
    known = math.log(logits.shape[1]) - F.cross_entropy(logits, y)
    return known.clamp(min=0) / math.log(2)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log2(f.shape[1]) / 2)


# %% time-bits | the number of the level | Return the level
def bits(logits, y):
    return (math.log(logits.shape[1]) - F.cross_entropy(logits, y)) / math.log(2)


def half_drowned(logits, y):
    return next(k for k, f in enumerate(logits.values()) if bits(f, y) < math.log2(f.shape[1]) / 2)


# %% time-bits | the last level with half of it, not the first without | the last level at which half
def bits(logits, y):
    return (math.log(logits.shape[1]) - F.cross_entropy(logits, y)) / math.log(2)


def half_drowned(logits, y):
    return max(t for t, f in logits.items() if bits(f, y) >= math.log2(f.shape[1]) / 2)


# %% time-bits | half of ten classes' entropy, whatever there was to know | depends on how many classes
def bits(logits, y):
    return (math.log(logits.shape[1]) - F.cross_entropy(logits, y)) / math.log(2)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log2(10) / 2)


# %% time-bits | bits held against nats | Compare bits with bits
def bits(logits, y):
    return (math.log(logits.shape[1]) - F.cross_entropy(logits, y)) / math.log(2)


def half_drowned(logits, y):
    return next(t for t, f in logits.items() if bits(f, y) < math.log(f.shape[1]) / 2)


# %% time-bits | the level read off the page | Where does the bound fall
def bits(logits, y):
    return (math.log(logits.shape[1]) - F.cross_entropy(logits, y)) / math.log(2)


def half_drowned(logits, y):
    return 500


# %% time-guess | a mean over the batch | the mean over the batch
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.square().mean() - table).abs().argmin().expand(len(xt))


# %% time-guess | the squared length, which is not a mean | compare means with means
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.flatten(1).square().sum(1)[:, None] - table).abs().argmin(dim=1)


# %% time-guess | the root of the mean square | that is the root
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.flatten(1).square().mean(1).sqrt()[:, None] - table).abs().argmin(dim=1)


# %% time-guess | the variance of an image's pixels | their mean counts too
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.flatten(1).var(1)[:, None] - table).abs().argmin(dim=1)


# %% time-guess | the digits' mean square, whatever is handed over | of clean images that is handed over
def guess_time(xt, schedule, mean_square):
    table = 0.83 * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.flatten(1).square().mean(1)[:, None] - table).abs().argmin(dim=1)


# %% time-guess | the root of alpha_bar for a mean square | not by its root
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar.sqrt() + 1 - schedule.alpha_bar
    return (xt.flatten(1).square().mean(1)[:, None] - table).abs().argmin(dim=1)


# %% time-guess | the noise forgotten | the noise has its own
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar
    return (xt.flatten(1).square().mean(1)[:, None] - table).abs().argmin(dim=1)


# %% time-guess | one level before | less noisy than the nearest
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.flatten(1).square().mean(1)[:, None] - table).abs().argmin(dim=1) - 1


# %% time-guess | levels counted from 1 | counted from 0
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    return (xt.flatten(1).square().mean(1)[:, None] - table).abs().argmin(dim=1) + 1


# %% time-guess | right for dark images alone | for the nearest
def guess_time(xt, schedule, mean_square):
    table = mean_square * schedule.alpha_bar + 1 - schedule.alpha_bar
    above = xt.flatten(1).square().mean(1)
    k = torch.searchsorted(table, above).clamp(1, schedule.T - 1)
    return torch.where(above - table[k - 1] < table[k] - above, k - 1, k)


# %% time-guess | the page's schedule in place of the one that is handed over | Go through all of the levels
def guess_time(xt, schedule, mean_square):
    alpha_bar = rgd.schedule.linear(1000).alpha_bar
    table = mean_square * alpha_bar + 1 - alpha_bar
    return (xt.flatten(1).square().mean(1)[:, None] - table).abs().argmin(dim=1)


# %% time-temperature | multiplied, not divided | The hotter the less sure
def cooled(network, tau):
    return lambda xt, t: network(xt, t) * tau(t).reshape(-1, 1)


# %% time-temperature | probabilities divided | not probabilities.
def cooled(network, tau):
    return lambda xt, t: network(xt, t).softmax(1) / tau(t).reshape(-1, 1)


# %% time-temperature | probabilities returned | Return logits
def cooled(network, tau):
    return lambda xt, t: (network(xt, t) / tau(t).reshape(-1, 1)).softmax(1)


# %% time-temperature | the mean temperature of the batch | the mean over the batch
def cooled(network, tau):
    return lambda xt, t: network(xt, t) / tau(t).mean()


# %% time-temperature | the first image's temperature | the first one's
def cooled(network, tau):
    return lambda xt, t: network(xt, t) / tau(t)[0]


# %% time-temperature | the temperature of the level before | ask for it at t
def cooled(network, tau):
    return lambda xt, t: network(xt, t) / tau(t - 1).reshape(-1, 1)


# %% time-temperature | along the columns | lays it along the columns
def cooled(network, tau):
    return lambda xt, t: network(xt, t) / tau(t)


# %% time-temperature | one temperature for all levels, read off the page | one number for each image, for all classes
def cooled(network, tau):
    return lambda xt, t: network(xt, t) / 3.2


# %% time-temperature | no gradient flows | let nothing detach
def cooled(network, tau):
    def classifier(xt, t):
        with torch.no_grad():
            return network(xt, t) / tau(t).reshape(-1, 1)

    return classifier


# %% time-temperature | the network is changed for good | The network's weights have changed
def cooled(network, tau):
    def classifier(xt, t):
        with torch.no_grad():
            for p in network.out.parameters():
                p /= tau(t).mean()
        return network(xt, t)

    return classifier
