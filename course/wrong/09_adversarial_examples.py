# %% attacks-linear | the two swapped | L-infinity comes first
def worst(w, r):
    return r * w.norm(), r * w.abs().sum()


# %% attacks-linear | the largest entry alone | all entries of x may move at once
def worst(w, r):
    return r * w.abs().max(), r * w.norm()


# %% attacks-linear | a sum without signs | none is taken away from another
def worst(w, r):
    return r * w.sum(), r * w.norm()


# %% attacks-linear | along w, as far as a corner of the cube is | a corner that is worse
def worst(w, r):
    return r * len(w) ** 0.5 * w.norm(), r * w.norm()


# %% attacks-linear | along w, but not with a direction of length 1 | divide w by its length first
def worst(w, r):
    return r * w.abs().sum(), r * w.square().sum()


# %% attacks-linear | the fall of the difference between the logits | asked for is w x alone
def worst(w, r):
    return 2 * r * w.abs().sum(), 2 * r * w.norm()


# %% attacks-linear | changes with their sign | a number that is positive
def worst(w, r):
    return -r * w.abs().sum(), -r * w.norm()


# %% attacks-threat | the whole batch's length | the length of the whole batch
class LeftHalf:
    def __init__(self, radius):
        self.radius = radius

    def direction(self, gradient):
        left = gradient.clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return left / left.norm().clamp_min(1e-30)

    def project(self, u):
        return u / u.norm().clamp_min(1)


# %% attacks-threat | cut after the length was made 1 | Cut the right half off first
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = super().direction(gradient).clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return left


# %% attacks-threat | both halves | changes both halves
class LeftHalf(rgd.L2):
    pass


# %% attacks-threat | the upper half | columns are the last dimension
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = gradient.clone()
        left[:, :, gradient.shape[2] // 2 :] = 0
        return super().direction(left)


# %% attacks-threat | 14 columns, as in an image of MNIST | not always 14 columns
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = gradient.clone()
        left[..., 14:] = 0
        return super().direction(left)


# %% attacks-threat | zero divided by zero | so is its direction
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = gradient.clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return left / left.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


# %% attacks-threat | a sphere for a ball | That is the sphere
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = gradient.clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return super().direction(left)

    def project(self, u):
        return super().direction(u)


# %% attacks-threat | a ball of the radius, where the unit ball is meant | not of one of the radius
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = gradient.clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return super().direction(left)

    def project(self, u):
        length = u.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        return u / (length / self.radius).clamp_min(1)


# %% attacks-threat | the gradient changed in place | work on a copy
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        gradient[..., gradient.shape[-1] // 2 :] = 0
        return super().direction(gradient)


# %% attacks-threat | a direction a hundredth as long | give each image's the length 1
class LeftHalf(rgd.L2):
    def direction(self, gradient):
        left = gradient.clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return super().direction(left) / 100


# %% attacks-threat | a radius of its own | needs the radius that it was made with
class LeftHalf(rgd.L2):
    def __init__(self, radius):
        super().__init__(4.0)

    def direction(self, gradient):
        left = gradient.clone()
        left[..., gradient.shape[-1] // 2 :] = 0
        return super().direction(left)


# %% attacks-targeted | away from the wanted class | the cross-entropy should fall
def towards(classifier, xt, t, wanted, r, steps=20):
    return rgd.pgd(classifier, xt, t, wanted, rgd.L2(r), steps, early_stop=False)


# %% attacks-targeted | away from what is read now | it should go to the wanted class
def towards(classifier, xt, t, wanted, r, steps=20):
    with torch.no_grad():
        now = classifier(xt, t).argmax(1)
    return rgd.pgd(classifier, xt, t, now, rgd.L2(r), steps, early_stop=False)


# %% attacks-targeted | the classifier at t = 0 | at each image's own t
def towards(classifier, xt, t, wanted, r, steps=20):
    delta = torch.zeros_like(xt)
    for _ in range(steps):
        g = rgd.grad_log_prob(classifier)(xt + delta, torch.zeros_like(t), wanted)
        delta = delta + 2.5 * r / steps * rgd.L2(1.0).direction(g)
        delta = r * rgd.L2(1.0).project(delta / r)
    return xt + delta


# %% attacks-targeted | one gradient for all steps | ask for the gradient anew
def towards(classifier, xt, t, wanted, r, steps=20):
    g = rgd.grad_log_prob(classifier)(xt, t, wanted)
    return xt + r * rgd.L2(1.0).direction(g)


# %% attacks-targeted | the whole batch's length and ball | take lengths image by image
def towards(classifier, xt, t, wanted, r, steps=20):
    delta = torch.zeros_like(xt)
    for _ in range(steps):
        g = rgd.grad_log_prob(classifier)(xt + delta, t, wanted)
        delta = delta + 2.5 * r / steps * g / g.norm()
        delta = delta / (delta.norm() / r).clamp_min(1)
    return xt + delta


# %% attacks-targeted | no way back to the ball | go back to the ball after each step
def towards(classifier, xt, t, wanted, r, steps=20):
    delta = torch.zeros_like(xt)
    for _ in range(steps):
        g = rgd.grad_log_prob(classifier)(xt + delta, t, wanted)
        delta = delta + 2.5 * r / steps * rgd.L2(1.0).direction(g)
    return xt + delta


# %% attacks-targeted | a sphere for a ball | only far ones are moved
def towards(classifier, xt, t, wanted, r, steps=20):
    delta = torch.zeros_like(xt)
    for _ in range(steps):
        g = rgd.grad_log_prob(classifier)(xt + delta, t, wanted)
        delta = delta + 2.5 * r / steps * rgd.L2(1.0).direction(g)
        delta = r * rgd.L2(1.0).direction(delta)
    return xt + delta


# %% attacks-targeted | an image that is read as wanted stays as it is | No image stops early
def towards(classifier, xt, t, wanted, r, steps=20):
    delta = torch.zeros_like(xt)
    for _ in range(steps):
        g = rgd.grad_log_prob(classifier)(xt + delta, t, wanted)
        going = (classifier(xt + delta, t).argmax(1) != wanted).reshape(-1, 1, 1, 1)
        delta = delta + 2.5 * r / steps * going * rgd.L2(1.0).direction(g)
        delta = r * rgd.L2(1.0).project(delta / r)
    return xt + delta


# %% attacks-targeted | always twenty steps | is the argument `steps`
def towards(classifier, xt, t, wanted, r, steps=20):
    delta = torch.zeros_like(xt)
    for _ in range(20):
        g = rgd.grad_log_prob(classifier)(xt + delta, t, wanted)
        delta = delta + 2.5 * r / 20 * rgd.L2(1.0).direction(g)
        delta = r * rgd.L2(1.0).project(delta / r)
    return xt + delta


# %% attacks-unmask | an attack on the masked classifier as it is | No image has moved
def unmasked(masked, xt, t, y, r):
    return rgd.pgd(masked, xt, t, y, rgd.L2(r), steps=20)


# %% attacks-unmask | a temperature for the factor of the page alone | for one factor does not do for another
def unmasked(masked, xt, t, y, r):
    return rgd.pgd(lambda x, t: 1e-4 * masked(x, t), xt, t, y, rgd.L2(r), steps=20)


# %% attacks-unmask | a change of length r in a random direction | Too few images are misread
def unmasked(masked, xt, t, y, r):
    random = torch.randn(xt.shape, generator=torch.Generator().manual_seed(0))
    return xt + r * rgd.L2(1.0).direction(random)


# %% attacks-unmask | r in every pixel | longer than r in L2
def unmasked(masked, xt, t, y, r):
    x = xt.detach().requires_grad_()
    logits = masked(x, t)
    best = logits.scatter(1, y[:, None], -torch.inf).amax(1)
    (g,) = torch.autograd.grad((best - logits.gather(1, y[:, None])[:, 0]).sum(), x)
    return xt + r * g.sign()


# %% attacks-unmask | the classifier that is inside | Use nothing but calls of `masked`
def unmasked(masked, xt, t, y, r):
    return rgd.pgd(masked.classifier, xt, t, y, rgd.L2(r), steps=20)
