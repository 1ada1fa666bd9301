"""What others have trained, in the words of this package: denoisers of diffusers and of EDM's kind, classifiers of
clean images from timm and torchvision, latent spaces, and weights from files. None of those libraries is imported here:
what they have made is handed in."""

from rgd.adapters import adm
from rgd.adapters.classifiers import CleanClassifier, Sees, from_timm, from_torchvision
from rgd.adapters.denoisers import DiffusersNetwork, from_diffusers, from_edm
from rgd.adapters.latents import Latents, from_vae
from rgd.adapters.weights import load_from

__all__ = ["CleanClassifier", "DiffusersNetwork", "Latents", "Sees", "from_diffusers", "from_edm", "from_timm"]
__all__ += ["adm", "from_torchvision", "from_vae", "load_from"]
