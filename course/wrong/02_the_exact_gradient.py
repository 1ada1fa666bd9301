# %% exact-two | the gradient of the log odds | still to be differentiated
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[:, None]
    return 2 * a.sqrt() / (a * v + 1 - a) * m + 0 * x


# %% exact-two | the probability of class 0 in place of the doubt | Which of the two probabilities is the doubt
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[:, None]
    slope = 2 * a.sqrt() / (a * v + 1 - a)
    return torch.sigmoid(slope * (x @ m)[:, None]) * slope * m


# %% exact-two | the other class | the gradient of class 1
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[:, None]
    slope = -2 * a.sqrt() / (a * v + 1 - a)
    return torch.sigmoid(-slope * (x @ m)[:, None]) * slope * m


# %% exact-two | one mean at m, the other at zero | How far apart are the two means
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[:, None]
    slope = a.sqrt() / (a * v + 1 - a)
    return torch.sigmoid(-slope * (x @ m)[:, None]) * slope * m


# %% exact-two | alpha_bar without its root | by the root of alpha_bar
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[:, None]
    slope = 2 * a / (a * v + 1 - a)
    return torch.sigmoid(-slope * (x @ m)[:, None]) * slope * m


# %% exact-two | clouds that stay as narrow as they were | The noise makes the clouds wider
def gradient_of_two(x, alpha_bar, m, v):
    slope = 2 * alpha_bar[:, None].sqrt() / v
    return torch.sigmoid(-slope * (x @ m)[:, None]) * slope * m


# %% exact-two | a standard deviation for a variance | v is the variance
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[:, None]
    slope = 2 * a.sqrt() / (a * v**2 + 1 - a)
    return torch.sigmoid(-slope * (x @ m)[:, None]) * slope * m


# %% exact-two | the first point's level for all | an alpha_bar of its own
def gradient_of_two(x, alpha_bar, m, v):
    a = alpha_bar[0]
    slope = 2 * a.sqrt() / (a * v + 1 - a)
    return torch.sigmoid(-slope * x @ m)[:, None] * slope * m


# %% exact-two | the page's level in place of the one that is given | the squares of two distances
def gradient_of_two(x, alpha_bar, m, v):
    a = schedule.alpha_bar[120]
    slope = 2 * a.sqrt() / (a * v + 1 - a)
    return torch.sigmoid(-slope * x @ m)[:, None] * slope * m


# %% exact-two | the right direction, always of the same length | fades with the doubt
def gradient_of_two(x, alpha_bar, m, v):
    return m + 0 * x


# %% exact-conserved | no weights | each is to be weighted
def terms(classifier, xt, t):
    labels = [torch.full((len(xt),), y) for y in range(classifier(xt, t).shape[1])]
    return torch.stack([rgd.grad_log_prob(classifier)(xt, t, y) for y in labels])


# %% exact-conserved | the mean probability of the batch | the means over the batch
def terms(classifier, xt, t):
    p = classifier(xt, t).softmax(dim=1).mean(0)
    labels = [torch.full((len(xt),), y) for y in range(len(p))]
    return torch.stack([p[k] * rgd.grad_log_prob(classifier)(xt, t, y) for k, y in enumerate(labels)])


# %% exact-conserved | the slope of the logits | Asked for are those of log p
def terms(classifier, xt, t):
    xt = xt.detach().requires_grad_()
    logits = classifier(xt, t)
    p = logits.softmax(dim=1).detach().reshape(len(xt), -1, 1, 1, 1)
    slopes = [torch.autograd.grad(f.sum(), xt, retain_graph=True)[0] for f in logits.unbind(1)]
    return torch.stack([p[:, y] * g for y, g in enumerate(slopes)])


# %% exact-conserved | the first image's level for all | the level of the first
def terms(classifier, xt, t):
    t = t[:1].expand(len(t))
    p = classifier(xt, t).softmax(dim=1).reshape(len(xt), -1, 1, 1, 1)
    labels = [torch.full((len(xt),), y) for y in range(p.shape[1])]
    gradients = [rgd.grad_log_prob(classifier)(xt, t, y) for y in labels]
    return torch.stack([p[:, y] * g for y, g in enumerate(gradients)])


# %% exact-conserved | the classifier of clean images | is told t
def terms(classifier, xt, t):
    xt, clean = xt.detach().requires_grad_(), torch.zeros_like(t)
    p = classifier(xt, clean).softmax(dim=1)
    return torch.stack([torch.autograd.grad(one.sum(), xt, retain_graph=True)[0] for one in p.unbind(1)])


# %% exact-conserved | three classes and points of the plane, as on the page | As many terms as there are classes
def terms(classifier, xt, t):
    p = classifier(xt, t).softmax(dim=1)
    found = torch.zeros(3, len(xt), 1, 1, 2).double()
    for y in range(3):
        g = rgd.grad_log_prob(classifier)(xt, t, torch.full((len(xt),), y))
        found[y] = p[:, y].reshape(-1, 1, 1, 1) * g
    return found


# %% exact-conserved | nothing, which sums to nothing | and they are not zero
def terms(classifier, xt, t):
    return torch.zeros(classifier(xt, t).shape[1], *xt.shape)


# %% exact-conserved | the sum alone | The shape is
def terms(classifier, xt, t):
    p = classifier(xt, t).softmax(dim=1).reshape(len(xt), -1, 1, 1, 1)
    labels = [torch.full((len(xt),), y) for y in range(p.shape[1])]
    gradients = [rgd.grad_log_prob(classifier)(xt, t, y) for y in labels]
    return sum(p[:, y] * g for y, g in enumerate(gradients))


# %% exact-repair | the average image's posterior | Average the posteriors
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[:, None]
    square = (xt[:, None] - a.sqrt()[:, :, None] * x0).square().sum(dim=2)
    return clean((-square / (2 * (1 - a))).softmax(dim=1) @ x0)


# %% exact-repair | the likeliest image alone | The others count too
def posterior(clean, xt, alpha_bar, x0):
    square = (xt[:, None] - alpha_bar.sqrt()[:, None, None] * x0).square().sum(dim=2)
    return clean(x0)[square.argmin(dim=1)]


# %% exact-repair | images that do not shrink | what is left of it
def posterior(clean, xt, alpha_bar, x0):
    square = (xt[:, None] - x0).square().sum(dim=2)
    return (-square / (2 * (1 - alpha_bar[:, None]))).softmax(dim=1) @ clean(x0)


# %% exact-repair | alpha_bar without its root | shrinks by the root
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[:, None]
    square = (xt[:, None] - a[:, :, None] * x0).square().sum(dim=2)
    return (-square / (2 * (1 - a))).softmax(dim=1) @ clean(x0)


# %% exact-repair | a standard deviation for a variance | by the variance of the noise
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[:, None]
    square = (xt[:, None] - a.sqrt()[:, :, None] * x0).square().sum(dim=2)
    return (-square / (2 * (1 - a).sqrt())).softmax(dim=1) @ clean(x0)


# %% exact-repair | no half | has a half in it
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[:, None]
    square = (xt[:, None] - a.sqrt()[:, :, None] * x0).square().sum(dim=2)
    return (-square / (1 - a)).softmax(dim=1) @ clean(x0)


# %% exact-repair | no weights | a point that nobody has seen
def posterior(clean, xt, alpha_bar, x0):
    return clean(x0).mean(dim=0).expand(len(xt), -1)


# %% exact-repair | the first point's level for all | the level of the first
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[0]
    square = (xt[:, None] - a.sqrt() * x0).square().sum(dim=2)
    return (-square / (2 * (1 - a))).softmax(dim=1) @ clean(x0)


# %% exact-repair | the mean of log p | not their logarithms
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[:, None]
    square = (xt[:, None] - a.sqrt()[:, :, None] * x0).square().sum(dim=2)
    return ((-square / (2 * (1 - a))).softmax(dim=1) @ clean(x0).log()).exp()


# %% exact-repair | densities that vanish far away | compare their logarithms
def posterior(clean, xt, alpha_bar, x0):
    a = alpha_bar[:, None]
    square = (xt[:, None] - a.sqrt()[:, :, None] * x0).square().sum(dim=2)
    weight = (-square / (2 * (1 - a))).exp()
    return weight @ clean(x0) / weight.sum(dim=1, keepdim=True)


# %% exact-repair | the page's level and world in place of those that are given | How probable is xt
def posterior(clean, xt, alpha_bar, x0):
    a = schedule.alpha_bar[200]
    weight = (-(xt[:, None] - a.sqrt() * x0).square().sum(dim=2) / (2 * (1 - a))).softmax(dim=1)
    zero = torch.zeros(len(x0), dtype=torch.int64)
    return weight @ world.logits(x0[:, :2].reshape(-1, 1, 1, 2), zero).softmax(dim=1)
