"""Who proposes the next point: a pure function of the plan, a bounded view of the record, and the trial's number.

Each method is a module with one public function of that signature; `proposing` names them. Nothing is remembered
between calls but what is returned as the proposal's state and recorded with the trial, so a driver that was killed and
rebuilt proposes what the dead one would have. Methods hear the record through `listening` only.
"""

from automl.search.samplers.plan import DRAWS, Features, Proposal, SamplerPlan
from automl.search.samplers.proposing import METHODS, TAKES_TWINS, propose

__all__ = ["DRAWS", "METHODS", "TAKES_TWINS", "Features", "Proposal", "SamplerPlan", "propose"]
