"""Settings for every test."""

import os

from hypothesis import settings

# Timing never decides a test. On a build server the examples are the same in every run; elsewhere
# each run looks in new places.
settings.register_profile("everywhere", deadline=None)
settings.register_profile("build server", deadline=None, derandomize=True)
settings.load_profile("build server" if os.environ.get("CI") else "everywhere")
