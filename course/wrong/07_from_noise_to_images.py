# %% sampling-gaussian | the way from the image to the noise | asked for is the way back
def shrink(v, schedule):
    deviation = (schedule.alpha_bar * v + 1 - schedule.alpha_bar).sqrt()
    return deviation[-1] / deviation[0]


# %% sampling-gaussian | a ratio of variances | That is a ratio of variances
def shrink(v, schedule):
    variance = schedule.alpha_bar * v + 1 - schedule.alpha_bar
    return variance[0] / variance[-1]


# %% sampling-gaussian | as if the path ended at the clean image | a little noise is left
def shrink(v, schedule):
    last = schedule.alpha_bar[-1]
    return (v / (last * v + 1 - last)).sqrt()


# %% sampling-gaussian | as if every path began in pure noise | not one for every schedule
def shrink(v, schedule):
    first = schedule.alpha_bar[0]
    return (first * v + 1 - first).sqrt()


# %% sampling-gaussian | v for a standard deviation | do not square it
def shrink(v, schedule):
    deviation = (schedule.alpha_bar * v**2 + 1 - schedule.alpha_bar).sqrt()
    return deviation[0] / deviation[-1]


# %% sampling-gaussian | standard deviations that are added up | not their standard deviations
def shrink(v, schedule):
    deviation = schedule.signal * v**0.5 + schedule.sigma
    return deviation[0] / deviation[-1]


# %% sampling-gaussian | the weights of image and noise swapped | Which of the two weights
def shrink(v, schedule):
    deviation = (schedule.alpha_bar + (1 - schedule.alpha_bar) * v).sqrt()
    return deviation[0] / deviation[-1]


# %% sampling-gaussian | the page's schedule in place of the one that is handed over | of the schedule handed over
def shrink(v, schedule):
    alpha_bar = rgd.schedule.linear(1000).alpha_bar
    deviation = (alpha_bar * v + 1 - alpha_bar).sqrt()
    return deviation[0] / deviation[-1]


# %% sampling-gaussian | right for v = 0.01 and the page's schedule alone | How wide is the distribution
def shrink(v, schedule):
    return 0.10048


# %% sampling-eta | all of the noise is kept, and more is added | has to make room
def step_with_eta(guess, a_next, sigma, z):
    return a_next.sqrt() * guess.x0 + (1 - a_next).sqrt() * guess.eps + sigma * z


# %% sampling-eta | standard deviations that are subtracted | and not the standard deviations
def step_with_eta(guess, a_next, sigma, z):
    kept = (1 - a_next).sqrt() - sigma
    return a_next.sqrt() * guess.x0 + kept * guess.eps + sigma * z


# %% sampling-eta | sigma for a variance | and not a variance
def step_with_eta(guess, a_next, sigma, z):
    kept = (1 - a_next - sigma).clamp(min=0).sqrt()
    return a_next.sqrt() * guess.x0 + kept * guess.eps + sigma * z


# %% sampling-eta | the fresh noise is forgotten | The fresh noise is missing
def step_with_eta(guess, a_next, sigma, z):
    return a_next.sqrt() * guess.x0 + (1 - a_next - sigma**2).sqrt() * guess.eps


# %% sampling-eta | a step of DDIM | That is DDIM's step
def step_with_eta(guess, a_next, sigma, z):
    return a_next.sqrt() * guess.x0 + (1 - a_next).sqrt() * guess.eps


# %% sampling-eta | fresh noise by the variance | z has one
def step_with_eta(guess, a_next, sigma, z):
    kept = (1 - a_next - sigma**2).sqrt()
    return a_next.sqrt() * guess.x0 + kept * guess.eps + sigma**2 * z


# %% sampling-eta | the two noises swapped | z is the fresh one
def step_with_eta(guess, a_next, sigma, z):
    kept = (1 - a_next - sigma**2).sqrt()
    return a_next.sqrt() * guess.x0 + kept * z + sigma * guess.eps


# %% sampling-eta | an image without the root | What is the image multiplied by
def step_with_eta(guess, a_next, sigma, z):
    kept = (1 - a_next - sigma**2).sqrt()
    return a_next * guess.x0 + kept * guess.eps + sigma * z


# %% sampling-eta | the first image's level for all | the first one's are its own
def step_with_eta(guess, a_next, sigma, z):
    a_next, sigma = a_next.flatten()[0], sigma.flatten()[0]
    kept = (1 - a_next - sigma**2).sqrt()
    return a_next.sqrt() * guess.x0 + kept * guess.eps + sigma * z


# %% sampling-eta | the page's level in place of the one that is handed over | so is the variance of all its noise
def step_with_eta(guess, a_next, sigma, z):
    a_next = rgd.schedule.linear(1000).respace(20).alpha_bar_prev[-1]
    kept = (1 - a_next - sigma**2).clamp(min=0).sqrt()
    return a_next.sqrt() * guess.x0 + kept * guess.eps + sigma * z


# %% sampling-eta | the guess changed in place | The guess has changed
def step_with_eta(guess, a_next, sigma, z):
    xt = guess.x0
    xt *= a_next.sqrt()
    xt += (1 - a_next - sigma**2).sqrt() * guess.eps + sigma * z
    return xt


# %% sampling-invert | together again at the level where the points are | each step leads one level further
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    *_, last = rgd.ddim(denoise, xt, steps=steps)
    return xt, last.x


# %% sampling-invert | not sampled at all | That is where they end; sample from there
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    return xt, xt


# %% sampling-invert | the points that were handed over, for those at home | were handed; sample from where they end
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    return xt, points


# %% sampling-invert | the guess of the level that is gone to | Ask for the guess at the level where the points are
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        at = process.timesteps[k : k + 1].expand(len(xt))
        eps = denoise(xt, process.timesteps[k + 1].expand(len(xt))).eps
        x0 = denoise.schedule.x0_from_eps(xt, at, eps)
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * eps
    *_, last = rgd.ddim(denoise, xt, steps=steps)
    return xt, last.x


# %% sampling-invert | numbers of levels for times | and not by its number
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        eps = denoise(xt, torch.full((len(xt),), k)).eps
        x0 = process.x0_from_eps(xt, process.timesteps[k].expand(len(xt)), eps)
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * x0 + (1 - a).sqrt() * eps
    *_, last = rgd.ddim(denoise, xt, steps=steps)
    return xt, last.x


# %% sampling-invert | one long step | walk along all of the kept ones
def there_and_back(denoise, points, steps):
    schedule = denoise.schedule
    guess = denoise(points, torch.zeros(len(points), dtype=torch.int64))
    noise = schedule.q_sample(guess.x0, torch.full((len(points),), schedule.T - 1), guess.eps)
    *_, last = rgd.ddim(denoise, noise, steps=steps)
    return noise, last.x


# %% sampling-invert | noise in place of the way there | put it together one level noisier
def there_and_back(denoise, points, steps):
    t = torch.full((len(points),), denoise.schedule.T - 1)
    noise = denoise.schedule.q_sample(points, t, torch.randn(points.shape).to(points))
    *_, last = rgd.ddim(denoise, noise, steps=steps)
    return noise, last.x


# %% sampling-invert | back with as many steps as is the custom | other steps than the way there
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    *_, last = rgd.ddim(denoise, xt)
    return xt, last.x


# %% sampling-invert | back with dice | no dice are thrown
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    *_, last = rgd.ddpm(denoise, xt, steps=steps)
    return xt, last.x


# %% sampling-invert | the points at home alone | Return a pair
def there_and_back(denoise, points, steps):
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    *_, last = rgd.ddim(denoise, xt, steps=steps)
    return last.x


# %% sampling-invert | evenly spaced times, whatever is asked for | leave it to `respace`
def there_and_back(denoise, points, steps):
    steps = int("".join(d for d in str(steps) if d.isdigit()))
    process, xt = denoise.schedule.respace(steps), points
    for k in range(process.T - 1):
        guess = denoise(xt, process.timesteps[k].expand(len(xt)))
        a = process.alpha_bar[k + 1]
        xt = a.sqrt() * guess.x0 + (1 - a).sqrt() * guess.eps
    *_, last = rgd.ddim(denoise, xt, steps=steps)
    return xt, last.x
