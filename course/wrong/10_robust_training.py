# %% robust-linear | an adversary that helps | The adversary wants the loss to grow
def worst_loss(w, x, r):
    return F.softplus(-2 * (w @ x + r * w.norm()))


# %% robust-linear | the squared norm | That direction has length 1
def worst_loss(w, x, r):
    return F.softplus(-2 * (w @ x - r * w.square().sum()))


# %% robust-linear | one logit moves, the other stays | Both logits move
def worst_loss(w, x, r):
    return F.softplus(-2 * w @ x + r * w.norm())


# %% robust-linear | no adversary | the loss without an adversary
def worst_loss(w, x, r):
    return F.softplus(-2 * w @ x)


# %% robust-linear | stops at a mistake, as the paper's rule does | for an image that is misread too
def worst_loss(w, x, r):
    return F.softplus(-2 * (w @ x - r * w.norm() * (w @ x > 0)))


# %% robust-leak | cleared after the attack | look at p.grad of the weights
def leaves_traces(attack, network, xt, t, y):
    attack(network, xt, t, y)
    network.zero_grad(set_to_none=True)
    return any(p.grad is not None for p in network.parameters())


# %% robust-leak | never cleared, nor compared | gradients already, which are not the attack's
def leaves_traces(attack, network, xt, t, y):
    attack(network, xt, t, y)
    return any(p.grad is not None for p in network.parameters())


# %% robust-leak | the first weights alone | look at all of them
def leaves_traces(attack, network, xt, t, y):
    network.zero_grad(set_to_none=True)
    attack(network, xt, t, y)
    return next(network.parameters()).grad is not None


# %% robust-leak | always yes | leaves p.grad alone
def leaves_traces(attack, network, xt, t, y):
    return True


# %% robust-leak | an answer in words | Return True or False
def leaves_traces(attack, network, xt, t, y):
    network.zero_grad(set_to_none=True)
    attack(network, xt, t, y)
    return "yes" if any(p.grad is not None for p in network.parameters()) else "no"


# %% robust-rule | the probability after the attack | before the attack
def soft(attack, classifier, xt, t, y):
    moved = attack(classifier, xt, t, y)
    with torch.no_grad():
        p = classifier(moved, t).softmax(1).gather(1, y[:, None])[:, 0]
    return xt + p.reshape(-1, 1, 1, 1) * (moved - xt)


# %% robust-rule | the likeliest class in place of y | not of the likeliest one
def soft(attack, classifier, xt, t, y):
    with torch.no_grad():
        p = classifier(xt, t).softmax(1).amax(1)
    return xt + p.reshape(-1, 1, 1, 1) * (attack(classifier, xt, t, y) - xt)


# %% robust-rule | one probability for the batch | the mean over the batch
def soft(attack, classifier, xt, t, y):
    with torch.no_grad():
        p = classifier(xt, t).softmax(1).gather(1, y[:, None]).mean()
    return xt + p * (attack(classifier, xt, t, y) - xt)


# %% robust-rule | what is not known | the other way
def soft(attack, classifier, xt, t, y):
    with torch.no_grad():
        p = 1 - classifier(xt, t).softmax(1).gather(1, y[:, None])
    return xt + p.reshape(-1, 1, 1, 1) * (attack(classifier, xt, t, y) - xt)


# %% robust-rule | the change alone | Return the attacked images
def soft(attack, classifier, xt, t, y):
    with torch.no_grad():
        p = classifier(xt, t).softmax(1).gather(1, y[:, None])
    return p.reshape(-1, 1, 1, 1) * (attack(classifier, xt, t, y) - xt)


# %% robust-rule | a gradient through the probability | no gradient should flow
def soft(attack, classifier, xt, t, y):
    p = classifier(xt, t).softmax(1).gather(1, y[:, None])
    return xt + p.reshape(-1, 1, 1, 1) * (attack(classifier, xt, t, y) - xt)


# %% robust-trades | the first term at the attacked images | not at the attacked images
@dataclass(frozen=True)
class Trades:
    attack: object
    beta: float = 3.0

    def __call__(self, network, schedule, x0, y, generator):
        xt, t, _ = rgd.objectives.draw_xt(schedule, x0, generator)
        clean, moved = network(xt, t), network(self.attack(network, xt, t, y), t)
        how = dict(log_target=True, reduction="batchmean")
        change = F.kl_div(moved.log_softmax(1), clean.log_softmax(1), **how)
        return rgd.objectives.Loss(F.cross_entropy(moved, y) + self.beta * change)


# %% robust-trades | the divergence the other way round | KL is not symmetric
@dataclass(frozen=True)
class Trades:
    attack: object
    beta: float = 3.0

    def __call__(self, network, schedule, x0, y, generator):
        xt, t, _ = rgd.objectives.draw_xt(schedule, x0, generator)
        clean, moved = network(xt, t), network(self.attack(network, xt, t, y), t)
        how = dict(log_target=True, reduction="batchmean")
        change = F.kl_div(clean.log_softmax(1), moved.log_softmax(1), **how)
        return rgd.objectives.Loss(F.cross_entropy(clean, y) + self.beta * change)


# %% robust-trades | kl_div's own mean | averages over classes too
@dataclass(frozen=True)
class Trades:
    attack: object
    beta: float = 3.0

    def __call__(self, network, schedule, x0, y, generator):
        xt, t, _ = rgd.objectives.draw_xt(schedule, x0, generator)
        clean, moved = network(xt, t), network(self.attack(network, xt, t, y), t)
        change = F.kl_div(moved.log_softmax(1), clean.log_softmax(1), log_target=True)
        return rgd.objectives.Loss(F.cross_entropy(clean, y) + self.beta * change)


# %% robust-trades | the cross-entropy of the attacked images | asks only that the answer does not change
@dataclass(frozen=True)
class Trades:
    attack: object
    beta: float = 3.0

    def __call__(self, network, schedule, x0, y, generator):
        xt, t, _ = rgd.objectives.draw_xt(schedule, x0, generator)
        clean, moved = network(xt, t), network(self.attack(network, xt, t, y), t)
        return rgd.objectives.Loss(F.cross_entropy(clean, y) + self.beta * F.cross_entropy(moved, y))


# %% robust-trades | the attacked answers under no_grad | nothing is detached but the attack
@dataclass(frozen=True)
class Trades:
    attack: object
    beta: float = 3.0

    def __call__(self, network, schedule, x0, y, generator):
        xt, t, _ = rgd.objectives.draw_xt(schedule, x0, generator)
        attacked = self.attack(network, xt, t, y)
        clean = network(xt, t)
        with torch.no_grad():
            moved = network(attacked, t).log_softmax(1)
        how = dict(log_target=True, reduction="batchmean")
        change = F.kl_div(moved, clean.log_softmax(1), **how)
        return rgd.objectives.Loss(F.cross_entropy(clean, y) + self.beta * change)


# %% robust-trades | beta forgotten | multiplied by beta
@dataclass(frozen=True)
class Trades:
    attack: object
    beta: float = 3.0

    def __call__(self, network, schedule, x0, y, generator):
        xt, t, _ = rgd.objectives.draw_xt(schedule, x0, generator)
        clean, moved = network(xt, t), network(self.attack(network, xt, t, y), t)
        how = dict(log_target=True, reduction="batchmean")
        change = F.kl_div(moved.log_softmax(1), clean.log_softmax(1), **how)
        return rgd.objectives.Loss(F.cross_entropy(clean, y) + (self.beta > 0) * change)
