"""How much work a workload does: BENCH_SCALE times its full size.

Full size takes five seconds and more of an ordinary core. What is smaller does
fewer rounds first, and less in its only round after that, so that memory stays
as at full size for as long as it can.
"""
import math
import os

SCALE = float(os.environ.get("BENCH_SCALE", "1"))


def steps(full):
    """How many of `full` equal steps are to be done."""
    return max(1, int(full * SCALE))


def rounds(full, size):
    """The sizes of the rounds that are to be done of `full` of this size."""
    work = full * SCALE
    n = max(1, int(math.ceil(work)))
    return [max(1, int(size * work / n))] * n
