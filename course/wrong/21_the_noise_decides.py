# %% decides-view | not brought back | bring it back before you add
def both(gradient, view, undo):
    def g(xt, t, y, seen):
        return gradient(xt, t, y) + gradient(view(xt), t, seen)
    return g


# %% decides-view | turned once more | another image
def both(gradient, view, undo):
    def g(xt, t, y, seen):
        return gradient(xt, t, y) + view(gradient(view(xt), t, seen))
    return g


# %% decides-view | the guide sees no view | as the view shows it
def both(gradient, view, undo):
    def g(xt, t, y, seen):
        return gradient(xt, t, y) + undo(gradient(xt, t, seen))
    return g


# %% decides-view | one order for both | an order of its own
def both(gradient, view, undo):
    def g(xt, t, y, seen):
        return gradient(xt, t, y) + undo(gradient(view(xt), t, y))
    return g


# %% decides-view | the mean | that is the mean
def both(gradient, view, undo):
    def g(xt, t, y, seen):
        return (gradient(xt, t, y) + undo(gradient(view(xt), t, seen))) / 2
    return g


# %% decides-view | there and back changed about | by `view`, and its gradient back by `undo`
def both(gradient, view, undo):
    def g(xt, t, y, seen):
        return gradient(xt, t, y) + view(gradient(undo(xt), t, seen))
    return g


# %% decides-chosen | the lowest score | the lowest score
def chosen(scores, right):
    right = right.double()
    taken = right.gather(0, scores.argmin(dim=0, keepdim=True))
    return taken.mean(), right.mean(), right.amax(dim=0).mean()


# %% decides-chosen | the wrong dimension | N is the first dimension
def chosen(scores, right):
    right = right.double()
    taken = right.gather(1, scores.argmax(dim=1, keepdim=True))
    return taken.mean(), right.mean(), right.amax(dim=0).mean()


# %% decides-chosen | one start for all | not the best for each image
def chosen(scores, right):
    right = right.double()
    return right[scores.mean(dim=1).argmax()].mean(), right.mean(), right.amax(dim=0).mean()


# %% decides-chosen | the first start for chance | the first start alone
def chosen(scores, right):
    right = right.double()
    taken = right.gather(0, scores.argmax(dim=0, keepdim=True))
    return taken.mean(), right[0].mean(), right.amax(dim=0).mean()


# %% decides-chosen | a formula for the ceiling | count instead
def chosen(scores, right):
    right = right.double()
    taken = right.gather(0, scores.argmax(dim=0, keepdim=True))
    return taken.mean(), right.mean(), 1 - (1 - right.mean()) ** len(right)


# %% decides-chosen | all starts right | only if all of its starts end wrong
def chosen(scores, right):
    right = right.double()
    taken = right.gather(0, scores.argmax(dim=0, keepdim=True))
    return taken.mean(), right.mean(), right.amin(dim=0).mean()


# %% decides-calls | it begins again | does not begin again
def calls(p, sure):
    return ((p < sure).sum(dim=0) + 1).clamp(max=len(p))


# %% decides-calls | the last call forgotten | asked once more
def calls(p, sure):
    return (p < sure).long().cumprod(dim=0).sum(dim=0)


# %% decides-calls | what was saved | calls that were saved
def calls(p, sure):
    asked = ((p < sure).long().cumprod(dim=0).sum(dim=0) + 1).clamp(max=len(p))
    return len(p) - asked


# %% decides-calls | a share | not a number of calls
def calls(p, sure):
    asked = ((p < sure).long().cumprod(dim=0).sum(dim=0) + 1).clamp(max=len(p))
    return asked / len(p)


# %% decides-calls | the mean of the batch | One number for each image
def calls(p, sure):
    asked = ((p < sure).long().cumprod(dim=0).sum(dim=0) + 1).clamp(max=len(p))
    return asked.double().mean().expand(p.shape[1])


# %% decides-calls | stops in doubt | not when it is in doubt
def calls(p, sure):
    return ((p >= sure).long().cumprod(dim=0).sum(dim=0) + 1).clamp(max=len(p))
