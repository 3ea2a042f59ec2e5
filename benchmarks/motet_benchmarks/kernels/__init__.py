"""How fast the kernels are: against eager PyTorch and others, and against the bytes that any implementation must move.

Those bytes, at the speed at which the same machine copies, are the floor that memory sets.
"""

from motet_benchmarks.kernels.cases import BATCHES, JOBS, SHORT, VOCABS, Plan, named_jobs
from motet_benchmarks.kernels.run import measure

__all__ = ["BATCHES", "JOBS", "SHORT", "VOCABS", "Plan", "measure", "named_jobs"]
