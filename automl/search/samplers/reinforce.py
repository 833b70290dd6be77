"""A REINFORCE controller (Zoph and Le, 2017): an independent categorical policy for each dimension.

Policies are rebuilt from the view: every visible trial, in order, moves the policy by its advantage over a moving
baseline. For fronts the reward is a scalarisation whose weights are drawn for the proposal (as ParEGO; Knowles, 2006),
under which all earlier trials are judged anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from automl.search.record_view import RecordView
from automl.search.samplers.listening import Array, Losses, heard_losses
from automl.search.samplers.moves import as_indices, as_point
from automl.search.samplers.plan import DRAWS, Proposal, SamplerPlan

STEP = 0.15  # of the logits, for an advantage of one standard deviation
MEMORY = 0.9  # of the moving baseline
AUGMENTED = 0.05  # share of the sum in the augmented Tchebycheff scalarisation
PENALTY = 2.0  # in spans, of a violated limit


def reinforce(plan: SamplerPlan, view: RecordView, number: int) -> Iterator[Proposal]:
    """Yield draws from the policy of drawn weights."""
    losses = heard_losses(plan, view)
    rng = np.random.default_rng([plan.seed, number])
    weights = rng.dirichlet(np.ones(len(plan.objectives)))
    rows = as_indices(plan.space, [trial.point for trial in losses.trials])
    counts = np.array([len(dimension.choices) for dimension in plan.space.dimensions])
    policy = trained_policy(rows, counts, rewards(losses, weights))
    for _ in range(DRAWS):
        reach = policy.cumsum(axis=1)
        drawn = (rng.random(len(counts))[:, None] > reach).sum(axis=1)
        yield Proposal(as_point(plan.space, np.minimum(drawn, counts - 1)), {})


def rewards(losses: Losses, weights: Array) -> Array:
    """Return the standardised reward of each trial under the weights; the worst one where nothing was measured."""
    table = losses.table
    if len(table) == 0:
        return np.zeros(0)
    table = np.where(np.isnan(table).all(axis=0), 1.0, table)  # of an objective that nobody knows all are alike
    low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    scaled = np.nan_to_num((table - low) / np.where(high > low, high - low, 1.0), nan=1.0) * weights
    costs = scaled.max(axis=1) + AUGMENTED * scaled.sum(axis=1) + PENALTY * np.maximum(losses.violation, 0.0)
    return np.asarray((costs.mean() - costs) / (costs.std() + 1e-12))


def trained_policy(rows: np.ndarray, counts: np.ndarray, reward: Array) -> Array:
    """Return the probability of each choice (`dimensions x most choices`) after one step for each trial."""
    dimensions = np.arange(len(counts))
    logits = np.where(np.arange(counts.max())[None, :] < counts[:, None], 0.0, -np.inf)
    baseline = 0.0
    for row, value in zip(rows, reward, strict=True):
        policy = np.exp(logits)
        policy /= policy.sum(axis=1, keepdims=True)
        step = STEP * (value - baseline)
        logits -= step * policy
        logits[dimensions, row] += step
        baseline = MEMORY * baseline + (1 - MEMORY) * value
    policy = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(policy / policy.sum(axis=1, keepdims=True))
