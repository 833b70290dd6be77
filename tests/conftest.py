"""One thread for every test: two that spin on a busy core cost more than they bring."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests.compressed_study import compressed_folder  # noqa: F401 a fixture of several modules
