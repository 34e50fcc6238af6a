"""Folds on Dask worker processes: on this machine, or on a cluster that runs already.

The only package that imports dask, distributed and dask_cuda. A task travels as a few
hundred bytes: workers read the feature table themselves and leave their results in a
place they share with this process.
"""

from gpucv.folds.cluster.certificates import write_certificate
from gpucv.folds.cluster.dispatch import run_on_cluster
from gpucv.folds.cluster.seats import Cluster, Seat, open_cluster
from gpucv.folds.cluster.survey import survey_cluster
from gpucv.folds.cluster.together import run_together
from gpucv.folds.cluster.worker import Delivery, run_on_worker

__all__ = [
    "Cluster",
    "Delivery",
    "Seat",
    "open_cluster",
    "run_on_cluster",
    "run_on_worker",
    "run_together",
    "survey_cluster",
    "write_certificate",
]
