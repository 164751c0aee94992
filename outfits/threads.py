"""How many CPU threads compute, and how they wait for each other.

OpenMP reads its environment when torch is loaded, so programs import this module first; the processes that they start
inherit the setting. Unless told otherwise, a thread that waits for another one spins for some milliseconds. Where other
programs run on the same cores it spins away the time in which the thread it waits for could work.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(count: int | None) -> None:
    """Lets torch and FAISS compute on so many threads, None: on OpenMP's choice; ``OMP_NUM_THREADS`` wins."""
    if count is None or "OMP_NUM_THREADS" in os.environ:
        return
    import torch

    torch.set_num_threads(count)
    import faiss  # after torch: the other order lets thread settings go astray

    faiss.omp_set_num_threads(count)
