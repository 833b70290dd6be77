"""The search spaces: one module a group of dimensions, and `joint`, which joins them into one flat value.

Below the study spec: everything here takes plain values (and imports `automl.candidate`, `automl.errors` and
`automl.space` only), so that a space can be rebuilt from a record without parsing a file. The library itself knows
no particular space; only the command line and the estimator bring the two together.
"""
