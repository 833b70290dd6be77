"""The rows of `benchmarks/compression.py`: what they share, the peers, the searched recipe, and the cell."""
