"""The subcommands of the command line, one module for each kind of work.

Together with `automl.cli` the composition root: they join a study, a space, a target and a store, and are the only
readers of the environment. Heavy libraries are imported inside the commands, so that `--help` answers at once. A
command prints its result on standard output and everything else on standard error; with `--json` the result is JSON.
"""
