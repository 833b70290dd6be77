"""Data sets by name or path: read, checked, split and seeded, as NumPy arrays of raw pixels or token ids.

Needs only numpy to import (scikit-learn, Pillow and tokenizers inside the functions that use them). Pixels stay `uint8`
as they were given: scaling is part of the exported graph, so that a served file takes what a camera or a file gives.
"""
