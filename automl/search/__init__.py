"""The search: who proposes candidates, who runs them, and the driver between the two that alone writes the record.

Proposals are pure functions of the record (`samplers`), so that a driver killed and rebuilt goes on as if nothing had
been. What is proposed is recorded before it is assigned, and what comes back is recorded before anyone else hears of
it (`conductor`, which `driver` joins to a pool); Optuna's tables are a mirror of the record for its dashboard, made
whole at every start (`mirror`).

May import everything up to storage. Optuna is imported in `samplers` and `mirror` only, Ray in the modules named for
it, scikit-learn in `grid` only, each inside the functions that use it.
"""
