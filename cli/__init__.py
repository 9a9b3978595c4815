"""The `parley` command."""

import time

STARTED_S = time.monotonic()
"""When this program began, for telling how long it took to be ready."""
