"""The live pages of a storage, on loopback: our Pareto page at `/`, optuna-dashboard beside it at `/dashboard`.

Reads through the store only and writes nothing. May import anything of automl but its command line. Scripts and fonts
come from installed packages: no page needs the internet.
"""
