"""Sets the number of CPU threads, and how they wait for each other.

OpenMP reads its environment when torch is loaded, so programs import this module first; the processes that they start
inherit the setting. By default a thread that waits for another one spins for some milliseconds and, where other
programs run on the same cores, takes the time of the thread that it waits for.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(count: int | None) -> None:
    """Sets the threads of torch and FAISS, None: OpenMP's choice; ``OMP_NUM_THREADS`` takes precedence."""
    if count is None or "OMP_NUM_THREADS" in os.environ:
        return
    import torch

    torch.set_num_threads(count)
    import faiss  # after torch: in the other order thread settings are lost

    faiss.omp_set_num_threads(count)
