"""The steps from each version of the schema to the next, as Alembic's scripts: `versions/v<number>_<what>.py`.

A script is frozen once it is released: it spells its columns out, since the tables of the package move on.
"""
