# %% ask-eight | one side alone | That is one side alone
def one_sided_or_more(n, wins):
    return binom.sf(wins - 1, n, 0.5)


# %% ask-eight | more one-sided, not at least as one-sided | the result itself belongs to it
def one_sided_or_more(n, wins):
    return 2 * binom.sf(wins, n, 0.5)


# %% ask-eight | eight of ten or more, and less than two of ten | On one of the two sides
def one_sided_or_more(n, wins):
    return binom.sf(wins - 1, n, 0.5) + binom.cdf(n - wins - 1, n, 0.5)


# %% ask-eight | the probability of this very result | of this result alone
def one_sided_or_more(n, wins):
    return math.comb(n, wins) / 2**n


# %% ask-eight | this very result for either guide | this result, for either guide
def one_sided_or_more(n, wins):
    return 2 * binom.pmf(wins, n, 0.5)


# %% ask-eight | what is left, in place of the tails | anything less one-sided
def one_sided_or_more(n, wins):
    return binom.cdf(wins - 1, n, 0.5) - binom.cdf(n - wins, n, 0.5)


# %% ask-eight | the normal approximation | the normal approximation
def one_sided_or_more(n, wins):
    return math.erfc((wins - n / 2) / math.sqrt(n / 2))


# %% ask-eight | the number of the text alone | as one-sided, or more
def one_sided_or_more(n, wins):
    return 112 / 1024


# %% ask-left | those who say left never say A | whenever it is on the left
def share_for_a(p, q):
    return (1 - q) * p


def recovered(when_left, when_right):
    q = when_left - when_right
    return when_right / (1 - q), q


# %% ask-left | A always on the left | a coin decides
def share_for_a(p, q):
    return q + (1 - q) * p


def recovered(when_left, when_right):
    q = when_left - when_right
    return when_right / (1 - q), q


# %% ask-left | those who look counted in full | only 1 - q of the answers
def share_for_a(p, q):
    return q / 2 + p


def recovered(when_left, when_right):
    q = when_left - when_right
    return when_right / (1 - q), q


# %% ask-left | one number, whatever p and q are | on the left, and what where on the right
def share_for_a(p, q):
    return 0.66


def recovered(when_left, when_right):
    q = when_left - when_right
    return when_right / (1 - q), q


# %% ask-left | q and p exchanged | p comes first
def share_for_a(p, q):
    return q / 2 + (1 - q) * p


def recovered(when_left, when_right):
    q = when_left - when_right
    return q, when_right / (1 - q)


# %% ask-left | q alone | Return two numbers
def share_for_a(p, q):
    return q / 2 + (1 - q) * p


def recovered(when_left, when_right):
    return when_left - when_right


# %% ask-left | half the difference of the sides | not half of them
def share_for_a(p, q):
    return q / 2 + (1 - q) * p


def recovered(when_left, when_right):
    q = (when_left - when_right) / 2
    return when_right / (1 - q), q


# %% ask-left | the share of all answers for p | pull it towards one half
def share_for_a(p, q):
    return q / 2 + (1 - q) * p


def recovered(when_left, when_right):
    return (when_left + when_right) / 2, when_left - when_right


# %% ask-left | not divided by those who look | p is one of those who look
def share_for_a(p, q):
    return q / 2 + (1 - q) * p


def recovered(when_left, when_right):
    return when_right, when_left - when_right


# %% ask-worth | each answer correlated with itself once more | Not with itself
def design_effect(m, rho):
    return 1 + m * rho


def independent_answers(R, m, rho):
    return R * m / design_effect(m, rho)


# %% ask-worth | the standard error for the variance | by how much the standard error grows
def design_effect(m, rho):
    return (1 + (m - 1) * rho) ** 0.5


def independent_answers(R, m, rho):
    return R * m / (1 + (m - 1) * rho)


# %% ask-worth | turned over | turn it over
def design_effect(m, rho):
    return 1 / (1 + (m - 1) * rho)


def independent_answers(R, m, rho):
    return R * m * design_effect(m, rho)


# %% ask-worth | the correlation squared | not squared
def design_effect(m, rho):
    return 1 + (m - 1) * rho**2


def independent_answers(R, m, rho):
    return R * m / design_effect(m, rho)


# %% ask-worth | the covariances without the variances | its own variance too
def design_effect(m, rho):
    return (m - 1) * rho


def independent_answers(R, m, rho):
    return R * m / (1 + (m - 1) * rho)


# %% ask-worth | one rater in place of the survey | asked for is the survey
def design_effect(m, rho):
    return 1 + (m - 1) * rho


def independent_answers(R, m, rho):
    return m / design_effect(m, rho)


# %% ask-worth | the thousand answers of the text | Take R and m as handed over
def design_effect(m, rho):
    return 1 + (m - 1) * rho


def independent_answers(R, m, rho):
    return 1000 / design_effect(m, rho)


# %% ask-worth | raters counted, and not their answers | Each is worth more than one answer
def design_effect(m, rho):
    return 1 + (m - 1) * rho


def independent_answers(R, m, rho):
    return R


# %% ask-circle | C's wins of A taken for A's of C | C is the first of the two
def circle(fit, wins, n):
    first, second = torch.tensor([[0, 1], [1, 2], [0, 2]]).repeat_interleave(n, dim=0).T
    votes = torch.cat([(torch.arange(n) < won).double() for won in wins])
    return fit(first, second, votes, 3)[0]


def predicted(worths):
    return (worths - worths.roll(-1)).sigmoid()


# %% ask-circle | the answers turned round | The answers are turned round
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n >= torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)[0]


def predicted(worths):
    return (worths - worths.roll(-1)).sigmoid()


# %% ask-circle | a hundred answers, whatever n is | the test has others
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(100)
    votes = (torch.arange(300) % 100 < torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)[0]


def predicted(worths):
    return (worths - worths.roll(-1)).sigmoid()


# %% ask-circle | the zeros of the text's circle | right for the circle of the text, where all counts
def circle(fit, wins, n):
    return torch.zeros(3)


def predicted(worths):
    return (worths - worths.roll(-1)).sigmoid()


# %% ask-circle | all that the fit returns | return them alone
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n < torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)


def predicted(worths):
    return (worths - worths.roll(-1)).sigmoid()


# %% ask-circle | worths around their mean | not the mean of the three
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n < torch.tensor(wins)[first]).double()
    worths = fit(first, (first + 1) % 3, votes, 3)[0]
    return worths - worths.mean()


def predicted(worths):
    return (worths - worths.roll(-1)).sigmoid()


# %% ask-circle | the shares of those who are beaten | the second of the two is preferred
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n < torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)[0]


def predicted(worths):
    return (worths.roll(-1) - worths).sigmoid()


# %% ask-circle | A against C in place of C against A | the last share is C's
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n < torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)[0]


def predicted(worths):
    a, b, c = worths
    return torch.stack([a - b, b - c, a - c]).sigmoid()


# %% ask-circle | odds for shares | Those are odds
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n < torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)[0]


def predicted(worths):
    return (worths - worths.roll(-1)).exp()


# %% ask-circle | one half for every pair, as in the text's circle | for the circle of the text alone
def circle(fit, wins, n):
    first = torch.tensor([0, 1, 2]).repeat_interleave(n)
    votes = (torch.arange(3 * n) % n < torch.tensor(wins)[first]).double()
    return fit(first, (first + 1) % 3, votes, 3)[0]


def predicted(worths):
    return [0.5, 0.5, 0.5]
