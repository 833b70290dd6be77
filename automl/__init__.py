"""Finds networks that are accurate, small and fast on the device that will run them.

The library knows no particular search space, study or page. Importing it loads no heavy library: import the
module that you need, such as `automl.candidate`, `automl.study_spec` or `automl.estimator`. Layers, lowest first
(imports point down only, held by tests/test_architecture.py): errors, candidate, outcome; space, pareto; data,
models, training, compression, targets; study_spec, evaluation; storage, search; views, export; estimator, cli.
"""

__version__ = "0.1.0"
