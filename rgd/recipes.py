"""What recipe files import; the code is `rgd.lab.recipe`."""

from rgd.lab.recipe import *  # noqa: F403 - a door
