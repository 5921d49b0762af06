"""How many threads a product of matrices takes."""

from threadpoolctl import threadpool_limits


def one_thread_for_matrices() -> None:
    """Let products of matrices be computed where they are asked for, in this process from now on.

    Those of the detectors are small. OpenBLAS would hand parts of them to threads of its own, and these spin while they
    wait for more: a third of all processor time, on cores that decoding and storing could use.
    """
    import numpy as np  # noqa: F401 (only what is loaded can be limited)

    threadpool_limits(1, user_api="blas")
