"""Tasks on a Dask cluster, local or not: the only package that imports Dask.

Futures with a bound on how many are in flight, kept on this side. When a worker dies, Dask blames every task
that was assigned to it, running or only queued: submitted all at once, 200 tiles lost up to 58 of them to one
tile that crashes its worker. Bounded, and with the suspects run again in smaller and smaller company, only
the culprit is lost. `resources={"GPU": 1}` is not used, because it turns the scheduler's own queueing off.
"""

from remotesam.run.cluster.executor import DaskExecutor
from remotesam.run.cluster.launch import local_cluster, running_cluster

__all__ = ["DaskExecutor", "local_cluster", "running_cluster"]
