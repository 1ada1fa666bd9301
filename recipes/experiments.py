"""The experiments whose results are in the book; `rgd evaluate NAME --quick` runs a small version of one."""

from rgd.attacks import L2, PGD
from rgd.editing.experiment import Editing
from rgd.experiments import Comparison, Drawn, Entry, Matching, Rival, Study, Tangents, Tempering, Truth
from rgd.faster.experiment import FewerSteps
from rgd.neighbours.noise import NoiseDecides

# How tables call the classifiers that guide.
GUIDES = {
    "vanilla": "vanilla",
    "robust": "robust",
    "robust, radius 1": "robust_1",
    "robust, radius 2": "robust_2",
    "robust, growing radius": "robust_growing",
    "robust, shrinking radius": "robust_shrinking",
}
MIDDLE, MIDDLE_TOO = (f"{guide}, t from 100 to 599" for guide in ("robust", "vanilla"))  # at these t alone


def guided(denoiser, scales, *names, **how):
    """An entry for each classifier, by its name in tables, at the same scales."""
    data = denoiser.split("/")[0]
    models = {**{name: name for name in names}, **GUIDES, MIDDLE: "robust", MIDDLE_TOO: "vanilla"}
    return [Entry(name, denoiser, "classifier", f"{data}/{models[name]}", scales, **how) for name in names]


def against(other, *names):
    """Pairs to compare: each of the names with the other."""
    return tuple((name, other) for name in names)


def study(data, *names, **more):
    """The gradients of a data set's classifiers, noise level by noise level; a name may come with its twin's."""
    pairs = (name if isinstance(name, tuple) else (name, None) for name in names)
    classifiers = tuple((f"{data}/{name}", twin and f"{data}/{twin}") for name, twin in pairs)
    return Study(data, f"{data}/judge", f"{data}/ddpm", classifiers, **more)


mnist = dict(data="mnist", judge="mnist/judge")
compare_mnist = Comparison(
    entries=(
        Entry("none", "mnist/ddpm"),
        *guided("mnist/ddpm", (0.03, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0), "clean"),
        # A quarter of an octave apart where the best are: a coarse grid would compare one at its best with one off it.
        *guided("mnist/ddpm", (1.0, 1.4, 2.0, 2.4, 2.8, 3.4, 4.0, 4.8, 5.7, 8.0, 16.0), *GUIDES),
        *guided("mnist/ddpm", (2.0, 4.0, 5.7, 6.7, 8.0, 9.5, 11.3, 16.0), MIDDLE, MIDDLE_TOO, interval=(100, 600)),
        # As published, and with a cap on the gradient: it is tens of times too long where the noise is strong.
        Entry("clean, at x0", "mnist/ddpm", "at x0", "mnist/clean", (0.03, 0.12, 0.5, 1.0, 2.0, 4.0)),
        Entry("clean, at x0, capped", "mnist/ddpm", "at x0", "mnist/clean",
              (0.18, 0.35, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0), most=3.0),
        Entry("clean, through x0", "mnist/ddpm", "through x0", "mnist/clean", (0.01, 0.03, 0.1, 0.3, 1.0)),
        Entry("clean, through x0, capped", "mnist/ddpm", "through x0", "mnist/clean", (0.35, 0.7, 1.4, 2.8), most=3.0),
    ),
    pairs=against("vanilla", "robust", "robust, radius 1", "robust, radius 2", "robust, shrinking radius",
                  "robust, growing radius", MIDDLE, MIDDLE_TOO, "clean, at x0, capped"), **mnist,
)  # fmt: skip
compare_mnist_conditional = Comparison(
    entries=(
        Entry("none", "mnist/conditional"),
        # The model knows the class already, so that less is needed.
        *guided("mnist/conditional", (0.35, 0.7, 0.84, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8), *GUIDES),
        Entry("classifier-free", "mnist/conditional", "classifier-free", None, (1.12, 1.25, 1.4, 1.6, 1.8, 2.0, 3.0)),
        Entry("autoguidance", "mnist/conditional", "autoguidance", "mnist/early",
              (1.06, 1.12, 1.25, 1.4, 1.6, 2.0, 3.0)),
        *guided("mnist/conditional", (0.7, 1.4, 2.0, 2.8, 3.4, 4.0, 5.6), MIDDLE, MIDDLE_TOO, interval=(100, 600)),
        *guided("mnist/conditional", (0.03, 0.1, 0.3, 1.0), "clean"),
        Entry("clean, at x0, capped", "mnist/conditional", "at x0", "mnist/clean", (0.35, 0.7, 1, 1.4, 2), most=3.0),
    ),
    # In the order in which one would wait for them: a run that is stopped has finished those at the top.
    pairs=(
        *[("robust", "vanilla"), ("vanilla", "none"), ("robust", "classifier-free"), ("robust", "autoguidance")],
        *against("vanilla", "robust, radius 1", "robust, radius 2", MIDDLE, "robust, growing radius",
                 "robust, shrinking radius", MIDDLE_TOO),
    ),
    **mnist,
)  # fmt: skip
compare_cheaper = Comparison(
    entries=(
        *guided("mnist/ddpm", (2.0, 2.4, 2.8, 3.4, 4.0, 4.8), "vanilla"),
        # Larger for the two whose gradient is shorter where the noise is strong.
        *guided("mnist/ddpm", (4.0, 4.8, 5.7, 6.7, 8.0, 9.5, 11.3), "free", "fgsm"),
        *guided("mnist/ddpm", (2.0, 2.4, 2.8, 3.4, 4.0, 4.8), "fgsm_stop", "pgd3", "robust_1"),
    ),
    pairs=against("robust_1", "vanilla", "free", "fgsm", "fgsm_stop", "pgd3"), headline_samples=5000, **mnist,
)  # fmt: skip
by_vanilla = ("classifier", "mnist/vanilla")
ways = {  # each with its scales, and those with fresh noise
    "none": ("none", None, (0.0,), (0.0,)),
    "vanilla": (*by_vanilla, (1.7, 2.0, 2.4, 2.8), (1.2, 1.4, 1.7, 2.0, 2.4, 2.8)),
    "robust": ("classifier", "mnist/robust", (1.7, 2.0, 2.4, 2.8, 3.4), (1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 3.4)),
    "robust, radius 2": ("classifier", "mnist/robust_2", (2.4, 2.8, 3.4, 4.0), (1.4, 1.7, 2.0, 2.4, 2.8)),
    "robust, shrinking radius": ("classifier", "mnist/robust_shrinking", (2.0, 2.4, 2.8), (1.2, 1.4, 1.7, 2.0)),
}
brief = dict(samples=1000, headline_samples=4000, headline_seeds=(1, 2))
compare_noise = Comparison(
    entries=tuple(Drawn(way + more, "mnist/ddpm", *how[:2], how[2 + int(eta)], eta=eta)
                  for way, how in ways.items() for more, eta in (("", 0.0), (", fresh noise", 1.0))),
    pairs=(*[(f"{way}, fresh noise", way) for way in ways], ("robust", "vanilla"),
           *against("vanilla, fresh noise", *(f"{way}, fresh noise" for way in ways if way.startswith("robust")))),
    **brief, **mnist,
)  # fmt: skip
in_other_ways = {  # at equal steps; the scales are not those of plain guidance
    "projected": ((2.4, 2.8, 3.4, 4.0), -0.5),
    "cfg++": ((0.35, 0.5, 0.7, 1.0), 0.0),
    "feedback": ((1.7, 2.0, 2.4), 0.05),
    "entropy": ((1.0, 1.4, 2.0, 2.8), 0.0),
    "weak attention": ((1.7, 2.0, 2.4), 0.5),
}
at_x0 = {"clean, training-free": "mnist/clean", "vanilla, training-free": "mnist/vanilla",
         "robust, radius 2, training-free": "mnist/robust_2"}  # fmt: skip
asked = {f"discriminator, {name}": f"real/{name}" for name in ("vanilla", "robust")}  # is it real?
compare_rivals = Comparison(
    entries=(
        Drawn("none", "mnist/ddpm", steps=15),
        Drawn("vanilla", "mnist/ddpm", *by_vanilla, (1.7, 2.0, 2.4, 2.8), steps=15),
        *(Rival(f"vanilla, {way}", "mnist/ddpm", *by_vanilla, at, steps=15, way=way, setting=setting)
          for way, (at, setting) in in_other_ways.items()),
        *(Rival(name, "mnist/ddpm", "classifier", guide, (0.06, 0.12, 0.25), steps=15, way="training-free", setting=0.4)
          for name, guide in at_x0.items()),
        *(Rival(name, "mnist/ddpm", "classifier", guide, (1.0, 2.0, 4.0, 8.0, 16.0, 32.0), (0, 300), steps=15,
                way="ratio") for name, guide in asked.items()),
    ),
    pairs=(*against("vanilla", *(f"vanilla, {way}" for way in in_other_ways)), *against("none", *asked),
           tuple(asked)[::-1], ("robust, radius 2, training-free", "clean, training-free")), **brief, **mnist,
)  # fmt: skip

cifar10 = dict(data="cifar10", judge="cifar10/judge", samples=1000, headline_samples=3000)
few = ("vanilla", "robust", "robust, radius 1")
compare_cifar10_conditional = Comparison(
    entries=(
        Entry("none", "cifar10/ddpm"),
        # Ten times MNIST's scales: this denoiser is a poor one, and a classifier has much to add.
        *guided("cifar10/ddpm", (2.0, 4.0, 8.0, 11.0, 16.0, 23.0, 32.0), *few),
        Entry("classifier-free", "cifar10/ddpm", "classifier-free", None, (1.4, 2.0, 3.0, 4.0, 5.7, 8.0, 11.0, 16.0)),
        Entry("autoguidance", "cifar10/ddpm", "autoguidance", "cifar10/early", (1.06, 1.12, 1.25, 1.4, 1.7, 2.0)),
        *guided("cifar10/ddpm", (8.0, 11.0, 16.0, 23.0, 32.0), MIDDLE, interval=(100, 600)),
        *guided("cifar10/ddpm", (0.5, 1.0, 2.0, 4.0), "clean"),
    ),
    pairs=(("robust", "vanilla"), ("robust, radius 1", "vanilla"), ("vanilla", "none"), ("robust", "classifier-free"),
           ("robust", "autoguidance"), (MIDDLE, "robust")),
    **cifar10,
)  # fmt: skip
compare_cifar10 = Comparison(
    entries=(
        Entry("none", "cifar10/ddpm", blind=True),
        # Larger still: here the guide alone decides the class.
        *guided("cifar10/ddpm", (4.0, 8.0, 16.0, 23.0, 32.0, 45.0, 64.0), *few, blind=True),
        *guided("cifar10/ddpm", (1.0, 2.0, 4.0, 8.0, 16.0), "clean", blind=True),
        *guided("cifar10/ddpm", (16.0, 23.0, 32.0, 45.0, 64.0), MIDDLE, interval=(100, 600), blind=True),
        Entry("clean, at x0, capped", "cifar10/ddpm", "at x0", "cifar10/clean", (1.0, 2.0, 4.0, 8.0, 16.0), blind=True,
              most=3.0),
    ),
    pairs=(("robust", "vanilla"), ("robust, radius 1", "vanilla"), ("vanilla", "none")),
    **cifar10,
)  # fmt: skip

everyone = ("mnist/clean", *(f"mnist/{guide}" for guide in GUIDES.values()))
twins = [("vanilla", "vanilla_twin"), ("robust", "robust_twin")]
experiments = {
    # Vanilla and robust gradients against the exact one: in the plane, in 64 dimensions, and on digits as a mixture.
    "truth": Truth(),
    "study_mnist": study("mnist", "clean", *twins, "robust_1", "robust_2", "robust_growing", "robust_shrinking"),
    # Whose gradient is nearest to the true one, where nobody knows it? And by a denoiser that was stopped early?
    "matching_mnist": Matching("mnist", ("mnist/ddpm", "mnist/early"), everyone, reference="mnist/vanilla"),
    "tangents_mnist": Tangents("mnist", "mnist/ddpm", everyone, reference="mnist/vanilla"),  # is it along the images?
    # Does guidance sample p(x) p(y | x)^s, and what would that look like? Then: what does the starting noise decide?
    "tempering": Tempering("mnist", "mnist/judge", "mnist/ddpm", ("mnist/vanilla", "mnist/robust")),
    "noise": NoiseDecides(),
    "fewer": FewerSteps(),  # steps, and bits: what makes a sample cheaper, and what is lost
    "editing": Editing("mnist", "mnist/judge", "mnist/ddpm", ("mnist/vanilla", "mnist/robust")),  # what edits cost
    "compare_mnist": compare_mnist,
    "compare_mnist_conditional": compare_mnist_conditional,
    # What cheaper robust training buys: accuracy under PGD-7 within a radius of 1, gradients, and guidance.
    "study_cheaper": study("mnist", "vanilla", "free", "fgsm", "fgsm_stop", "pgd3", "robust_1", attack=PGD(L2(1.0), 7)),
    "compare_cheaper": compare_cheaper,
    "compare_noise": compare_noise,  # how much of what a guide repairs does fresh noise repair for nothing?
    "compare_rivals": compare_rivals,  # newer ways to use one gradient, at equal steps of DDIM
    "study_cifar10": study("cifar10", "clean", "vanilla", "robust", "robust_1"),
    "compare_cifar10": compare_cifar10,
    "compare_cifar10_conditional": compare_cifar10_conditional,
}
