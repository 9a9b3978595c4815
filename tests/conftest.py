"""Torch keeps to one thread in every test.

The models are tiny, so a second thread has nothing to win; on a busy machine each operation waits until
that thread is scheduled, and a test of a second takes minutes.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is first imported
