"""One part of each kind that automl takes from others: a space, a sampler, a criterion, a target and a data set."""
