"""Who else is told of a study: a structured log, Prometheus, TensorBoard, MLflow and Weights & Biases.

May import what stands below the storage, and its records; each library only inside the module named for it. The
decision behind it: all of this is a copy of the record. So none of it may hold up a search or end one, each is made
whole from the record at the next start, and a study without a word about tracking pays nothing for it.
"""

from automl.tracking.opening import Tracking, TrackingPlan, open_tracking

__all__ = ["Tracking", "TrackingPlan", "open_tracking"]
