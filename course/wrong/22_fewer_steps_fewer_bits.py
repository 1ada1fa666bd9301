# %% fewer-front | the front itself is beaten | Those are the ways that are beaten.
def front(seconds, distance):
    no_worse = (seconds[:, None] <= seconds) & (distance[:, None] <= distance)
    better = (seconds[:, None] < seconds) | (distance[:, None] < distance)
    return (no_worse & better).any(0)


# %% fewer-front | ties are let off | A way is beaten by one that is better in both; also
def front(seconds, distance):
    return ~((seconds[:, None] < seconds) & (distance[:, None] < distance)).any(0)


# %% fewer-front | the cheapest and the best | That is the cheapest way alone, and the best.
def front(seconds, distance):
    return (seconds == seconds.min()) | (distance == distance.min())


# %% fewer-front | a larger distance is taken for better | Both are prices: a smaller distance is better.
def front(seconds, distance):
    no_worse = (seconds[:, None] <= seconds) & (distance[:, None] >= distance)
    better = (seconds[:, None] < seconds) | (distance[:, None] > distance)
    return ~(no_worse & better).any(0)


# %% fewer-velocity | the noise is raised | Guidance lowers the noise: mind the sign.
def guided(v, g, u, scale):
    return v + scale * u / (1 - u) * g


# %% fewer-velocity | as if it were eps | That moves eps; how much does the velocity move with it
def guided(v, g, u, scale):
    return v - scale * u * g


# %% fewer-velocity | the shares are changed about | they are the wrong way round.
def guided(v, g, u, scale):
    return v - scale * (1 - u) / u * g


# %% fewer-velocity | only x0 is moved | That moves x0; the noise moves too
def guided(v, g, u, scale):
    return v - scale * u**2 / (1 - u) * g


# %% fewer-channels | one range for all | That is one range for all
def per_channel(weight, bits):
    step = weight.abs().max() / (2 ** (bits - 1) - 1)
    return (weight / step).round() * step


# %% fewer-channels | twice as many numbers | Half of the 2^bits whole numbers are negative
def per_channel(weight, bits):
    most = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1))
    step = most / (2**bits - 1)
    return (weight / step).round() * step


# %% fewer-channels | the whole numbers | Those are the whole numbers; multiply them by the step again.
def per_channel(weight, bits):
    most = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1))
    return (weight / (most / (2 ** (bits - 1) - 1))).round()


# %% fewer-channels | down instead of near | Round to the nearest, not down.
def per_channel(weight, bits):
    most = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1))
    step = most / (2 ** (bits - 1) - 1)
    return (weight / step).floor() * step
