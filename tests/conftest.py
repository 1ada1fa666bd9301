"""One setting for all tests: hypothesis draws the same examples every time, on machines however slow."""

from hypothesis import settings

settings.register_profile("rgd", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("rgd")
