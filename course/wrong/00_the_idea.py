# %% idea-dirt | a share of all walks | a share of all walks
def dirt(itself, stranger, target):
    fooled = (itself.argmax(1) == target) & (stranger.argmax(1) != target)
    return fooled.float().mean()


# %% idea-dirt | those who agree | convinced the stranger too
def dirt(itself, stranger, target):
    convinced = itself.argmax(1) == target
    return (stranger.argmax(1) == target)[convinced].float().mean()


# %% idea-dirt | the difference of the two shares that the page prints | do not say how often the same walk
def dirt(itself, stranger, target):
    own, other = itself.argmax(1) == target, stranger.argmax(1) == target
    return own.float().mean() - other.float().mean()


# %% idea-dirt | their ratio | count walk by walk
def dirt(itself, stranger, target):
    own, other = itself.argmax(1) == target, stranger.argmax(1) == target
    return 1 - other.sum() / own.sum()


# %% idea-dirt | the two swapped | own logits come first
def dirt(stranger, itself, target):
    convinced = itself.argmax(1) == target
    return (stranger.argmax(1) != target)[convinced].float().mean()


# %% idea-dirt | a number in place of a share | That is a number of walks
def dirt(itself, stranger, target):
    return int(((itself.argmax(1) == target) & (stranger.argmax(1) != target)).sum())


# %% idea-dirt | probabilities in place of verdicts | an average of probabilities
def dirt(itself, stranger, target):
    p = stranger.softmax(1).gather(1, target[:, None])[:, 0]
    return (1 - p)[itself.argmax(1) == target].mean()


# %% idea-dirt | any disagreement | what counts here is the target
def dirt(itself, stranger, target):
    return (itself.argmax(1) != stranger.argmax(1)).float().mean()


# %% idea-dirt | read off the page | Keep the walks that convinced
def dirt(itself, stranger, target):
    return 1 - 0.220 / 0.41


# %% idea-picture | the sign of the noise | What does the clean image do, with the same xt
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat - s * (1 - a) / a.sqrt() * g


# %% idea-picture | one root of two | and so has the noise in the formula
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat + s * ((1 - a) / a).sqrt() * g


# %% idea-picture | not divided by the factor of the clean image | by which you divide in the end
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat + s * (1 - a) * g


# %% idea-picture | divided by alpha_bar itself | by the root of alpha_bar
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat + s * (1 - a) / a * g


# %% idea-picture | the gradient added | By what is the noise multiplied
def guided_picture(x0_hat, g, s, t, schedule):
    return x0_hat + s * g


# %% idea-picture | what is done to the noise | That is what guidance adds to the noise
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat - s * (1 - a).sqrt() * g


# %% idea-picture | the change alone | return the picture
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return s * (1 - a) / a.sqrt() * g


# %% idea-picture | levels laid along the columns | along the columns
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t]
    a = a if len(t) == g.shape[3] else a.reshape(-1, 1, 1, 1)
    return x0_hat + s * (1 - a) / a.sqrt() * g


# %% idea-picture | the first image's level for all | that is the first one's
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t[0]]
    return x0_hat + s * (1 - a) / a.sqrt() * g


# %% idea-picture | an average over the batch | that is an average over the batch
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t]
    return x0_hat + s * ((1 - a) / a.sqrt()).mean() * g


# %% idea-picture | one level earlier | one level earlier
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t - 1].reshape(-1, 1, 1, 1)
    return x0_hat + s * (1 - a) / a.sqrt() * g


# %% idea-picture | the page's scale | The scale is `s`
def guided_picture(x0_hat, g, s, t, schedule):
    a = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat + (1 - a) / a.sqrt() * g


# %% idea-picture | the page's schedule | Write xt twice
def guided_picture(x0_hat, g, s, t, schedule):
    a = rgd.schedule.linear(1000).alpha_bar[t].reshape(-1, 1, 1, 1)
    return x0_hat + s * (1 - a) / a.sqrt() * g
