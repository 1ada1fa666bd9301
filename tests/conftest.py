"""Settings for all tests: hypothesis draws the same examples every time, on machines however slow; Ctrl-C is heard."""

import signal

from hypothesis import settings

settings.register_profile("rgd", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("rgd")

# A shell starts what it runs in the background with SIGINT ignored, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
