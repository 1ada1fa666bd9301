# %% lie-ripple | the largest length for the root mean square | largest length
def slope_of_ripple(a, omega):
    return a * omega


def speed_needed(a, g):
    return 10 * g * 2**0.5 / a


# %% lie-ripple | the mean of the square, halved, without its root | its root is still to be taken
def slope_of_ripple(a, omega):
    return a * omega / 2


def speed_needed(a, g):
    return 10 * g * 2**0.5 / a


# %% lie-ripple | the values' root mean square, not the gradient's | asked for is that of the gradient
def slope_of_ripple(a, omega):
    return a / 2**0.5


def speed_needed(a, g):
    return 10 * g * 2**0.5 / a


# %% lie-ripple | as large as g, not ten times | It is to be ten times as large
def slope_of_ripple(a, omega):
    return a * omega / 2**0.5


def speed_needed(a, g):
    return g * 2**0.5 / a


# %% lie-ripple | a number for the example of the text alone | solve for omega
def slope_of_ripple(a, omega):
    return a * omega / 2**0.5


def speed_needed(a, g):
    return 28284.27


# %% lie-square | lengths added without squares | Orthogonal lengths add by their squares
def cosines(r):
    return 1 / (1 + r), 1 / (1 + r) ** 2


# %% lie-square | the same cosine twice | Two estimates are each as far
def cosines(r):
    return 1 / (1 + r**2) ** 0.5, 1 / (1 + r**2) ** 0.5


# %% lie-square | the two swapped | the cosine has the length itself
def cosines(r):
    return 1 / (1 + r**2), 1 / (1 + r**2) ** 0.5


# %% lie-square | estimates that have nothing in common | but they have g in common
def cosines(r):
    return 1 / (1 + r**2) ** 0.5, 0.0


# %% lie-square | right for r = 1.5 alone | How long is g + e
def cosines(r):
    return 0.5547, 0.3077


# %% lie-dlsm | the opposite sign | Is the sign right
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    xt = schedule.q_sample(x0, t, eps).requires_grad_()
    log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
    (slope,) = torch.autograd.grad(log_prob, xt, create_graph=True)
    wanted = eps - denoise(xt.detach(), t).eps
    return (schedule.at("sigma", t, x0) * slope - wanted).square().mean()


# %% lie-dlsm | no factor of sigma | multiplied by the standard deviation
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    xt = schedule.q_sample(x0, t, eps).requires_grad_()
    log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
    (slope,) = torch.autograd.grad(log_prob, xt, create_graph=True)
    return (slope - (denoise(xt.detach(), t).eps - eps)).square().mean()


# %% lie-dlsm | sigma squared | not by its square
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    xt = schedule.q_sample(x0, t, eps).requires_grad_()
    log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
    (slope,) = torch.autograd.grad(log_prob, xt, create_graph=True)
    wanted = denoise(xt.detach(), t).eps - eps
    return (schedule.at("sigma", t, x0) ** 2 * slope - wanted).square().mean()


# %% lie-dlsm | the sum in place of the mean | that is the sum
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    xt = schedule.q_sample(x0, t, eps).requires_grad_()
    log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
    (slope,) = torch.autograd.grad(log_prob, xt, create_graph=True)
    wanted = denoise(xt.detach(), t).eps - eps
    return (schedule.at("sigma", t, x0) * slope - wanted).square().sum()


# %% lie-dlsm | the first example's level for all | Every example has its own t
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    xt = schedule.q_sample(x0, t, eps).requires_grad_()
    log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
    (slope,) = torch.autograd.grad(log_prob, xt, create_graph=True)
    wanted = denoise(xt.detach(), t).eps - eps
    return (schedule.at("sigma", t[:1], x0) * slope - wanted).square().mean()


# %% lie-dlsm | a slope that cannot be differentiated | create_graph=True
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    xt = schedule.q_sample(x0, t, eps)
    slope = rgd.grad_log_prob(network)(xt, t, y)
    wanted = denoise(xt, t).eps - eps
    return (schedule.at("sigma", t, x0) * slope - wanted).square().mean()


# %% lie-dlsm | the page's world in place of the one that is handed over | The loss is the mean square
def slope_loss(network, denoise, schedule, x0, y, t, eps):
    schedule = rgd.schedule.linear(1000)
    xt = schedule.q_sample(x0, t, eps).requires_grad_()
    log_prob = network(xt, t).log_softmax(1).gather(1, y[:, None]).sum()
    (slope,) = torch.autograd.grad(log_prob, xt, create_graph=True)
    wanted = truth.plane(schedule).mixture(xt.detach(), t).eps - eps
    return (schedule.at("sigma", t, x0) * slope - wanted).square().mean()
