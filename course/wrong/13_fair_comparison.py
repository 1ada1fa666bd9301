# %% fair-scales | the same scale | a model that does not know the class
def scale_of_knowing(s):
    return s


# %% fair-scales | one more | does it need more of it, or less
def scale_of_knowing(s):
    return s + 1


# %% fair-scales | the wrong way round | Turn it round
def scale_of_knowing(s):
    return 1 - s


# %% fair-scales | a share in place of a difference | Is it a factor
def scale_of_knowing(s):
    return (s - 1) / s


# %% fair-scales | right for s = 2.5 alone | Write classifier-free guidance as
def scale_of_knowing(s):
    return 1.5


# %% fair-scales | never less than the model | Which sign is that
def scale_of_knowing(s):
    return max(s - 1, 0)


# %% fair-witness | a mean that weighs all labels alike | Labels are not equally likely
def centred(gradient, classifier):
    def without_mean(xt, t, y):
        each = [gradient(xt, t, torch.full_like(y, k)) for k in range(classifier(xt, t).shape[1])]
        return gradient(xt, t, y) - torch.stack(each).mean(0)

    return without_mean


# %% fair-witness | the batch's probabilities | those are averages over the batch
def centred(gradient, classifier):
    def without_mean(xt, t, y):
        p = classifier(xt, t).detach().softmax(1).mean(0)
        mean = sum(share * gradient(xt, t, torch.full_like(y, k)) for k, share in enumerate(p))
        return gradient(xt, t, y) - mean

    return without_mean


# %% fair-witness | ten labels, whatever the classifier knows | each label that the classifier knows
def centred(gradient, classifier):
    def without_mean(xt, t, y):
        p = classifier(xt, t).detach().softmax(1)
        mean = sum(p[:, k].reshape(-1, 1, 1, 1) * gradient(xt, t, torch.full_like(y, k)) for k in range(10))
        return gradient(xt, t, y) - mean

    return without_mean


# %% fair-witness | logits for probabilities | Logits are no probabilities yet
def centred(gradient, classifier):
    def without_mean(xt, t, y):
        p = classifier(xt, t).detach()
        mean = sum(p[:, k].reshape(-1, 1, 1, 1) * gradient(xt, t, torch.full_like(y, k)) for k in range(p.shape[1]))
        return gradient(xt, t, y) - mean

    return without_mean


# %% fair-witness | y's own part of the mean alone | over all labels, y and the others
def centred(gradient, classifier):
    def without_mean(xt, t, y):
        p = classifier(xt, t).detach().softmax(1).gather(1, y[:, None])
        return (1 - p.reshape(-1, 1, 1, 1)) * gradient(xt, t, y)

    return without_mean


# %% fair-witness | the probabilities at the first image's level | those are the probabilities at that of the first
def centred(gradient, classifier):
    def without_mean(xt, t, y):
        p = classifier(xt, torch.full_like(t, int(t[0]))).detach().softmax(1)
        mean = sum(p[:, k].reshape(-1, 1, 1, 1) * gradient(xt, t, torch.full_like(y, k)) for k in range(p.shape[1]))
        return gradient(xt, t, y) - mean

    return without_mean


# %% fair-witness | the mean itself | Take it off the gradient towards y
def centred(gradient, classifier):
    def mean(xt, t, y):
        p = classifier(xt, t).detach().softmax(1)
        return sum(p[:, k].reshape(-1, 1, 1, 1) * gradient(xt, t, torch.full_like(y, k)) for k in range(p.shape[1]))

    return mean


# %% fair-witness | nothing changed | is `gradient` as it was
def centred(gradient, classifier):
    return gradient


# %% fair-twice | the images in place of the noise | compare eps, not x0
def agreement(denoise, xt, t, y):
    return torch.cosine_similarity(denoise(xt, t, y).x0.flatten(1), denoise(xt, t).x0.flatten(1))


# %% fair-twice | along the channels | The shape is
def agreement(denoise, xt, t, y):
    return torch.cosine_similarity(denoise(xt, t, y).eps, denoise(xt, t).eps)


# %% fair-twice | a mean over the batch, for each image | the mean over the batch
def agreement(denoise, xt, t, y):
    pair = denoise(xt, t, y).eps.flatten(1), denoise(xt, t).eps.flatten(1)
    return torch.cosine_similarity(*pair).mean().expand(len(xt))


# %% fair-twice | lengths of the whole batch | those are of the whole batch
def agreement(denoise, xt, t, y):
    a, b = denoise(xt, t, y).eps, denoise(xt, t).eps
    return (a * b).flatten(1).sum(1) / (a.norm() * b.norm())


# %% fair-twice | no lengths | divide by both lengths
def agreement(denoise, xt, t, y):
    return (denoise(xt, t, y).eps * denoise(xt, t).eps).flatten(1).sum(1)


# %% fair-twice | never told the label | One answer is to know the label
def agreement(denoise, xt, t, y):
    denoise = rgd.unconditional(denoise)
    return torch.cosine_similarity(denoise(xt, t, y).eps.flatten(1), denoise(xt, t).eps.flatten(1))


# %% fair-twice | one step earlier | ask at t
def agreement(denoise, xt, t, y):
    t = t - 1
    return torch.cosine_similarity(denoise(xt, t, y).eps.flatten(1), denoise(xt, t).eps.flatten(1))


# %% fair-twice | by how much they differ | fall short of agreeing
def agreement(denoise, xt, t, y):
    return 1 - torch.cosine_similarity(denoise(xt, t, y).eps.flatten(1), denoise(xt, t).eps.flatten(1))


# %% fair-both | always the class first | first autoguidance, and the push on top of it
def both(denoise, worse, push, s_auto, s_class, order):
    return rgd.autoguidance(rgd.guide(denoise, push, s_class), worse, s_auto)


# %% fair-both | the worse one pushed as well | the worse one is pushed as well
def both(denoise, worse, push, s_auto, s_class, order):
    if order == "auto first":
        return rgd.guide(rgd.autoguidance(denoise, worse, s_auto), push, s_class)
    return rgd.autoguidance(rgd.guide(denoise, push, s_class), rgd.guide(worse, push, s_class), s_auto)


# %% fair-both | the difference counted s times | nothing is added there
def both(denoise, worse, push, s_auto, s_class, order):
    if order == "auto first":
        return rgd.guide(rgd.autoguidance(denoise, worse, 1 + s_auto), push, s_class)
    return rgd.autoguidance(rgd.guide(denoise, push, s_class), worse, 1 + s_auto)


# %% fair-both | each scale for the other guide | have changed places
def both(denoise, worse, push, s_auto, s_class, order):
    if order == "auto first":
        return rgd.guide(rgd.autoguidance(denoise, worse, s_class), push, s_auto)
    return rgd.autoguidance(rgd.guide(denoise, push, s_auto), worse, s_class)


# %% fair-both | a model that is kept from the label | Hand the label on
def both(denoise, worse, push, s_auto, s_class, order):
    denoise = rgd.unconditional(denoise)
    if order == "auto first":
        return rgd.guide(rgd.autoguidance(denoise, worse, s_auto), push, s_class)
    return rgd.autoguidance(rgd.guide(denoise, push, s_class), worse, s_auto)


# %% fair-both | by hand, against the wrong sign | against the push
def both(denoise, worse, push, s_auto, s_class, order):
    if order == "auto first":
        return rgd.guide(rgd.autoguidance(denoise, worse, s_auto), push, -s_class)
    return rgd.autoguidance(rgd.guide(denoise, push, -s_class), worse, s_auto)


# %% fair-both | a tensor in place of a denoiser | gives a prediction with `.eps`
def both(denoise, worse, push, s_auto, s_class, order):
    return lambda xt, t, y: rgd.guide(denoise, push, s_class)(xt, t, y).eps


# %% fair-both | one of the guides alone | That is autoguidance alone
def both(denoise, worse, push, s_auto, s_class, order):
    return rgd.autoguidance(denoise, worse, s_auto)
