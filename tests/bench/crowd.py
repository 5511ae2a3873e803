"""The collector at level exact, where many blocks live.

Its CPU, less that of its censuses, is taken step by step while a target makes the blocks and then frees and
makes random ones; its memory is what it keeps (Pss) before and after.
"""
import os
import statistics
import subprocess
import time

from census_rig import cpu_s, kib_of, rows
from figures import print_table
from rig import Failure

# So long without CPU it has read all there is. Its ticks take less.
QUIET_S = 0.4

EVENTS_A_SECOND = 10e6
SHAPES = (("64 bytes", 64), ("16 to 256", 0))


def settled_s(pid):
    """Its CPU once it has nothing left to do."""
    last = -1
    while True:
        now = cpu_s(pid)
        if now == last:
            return now
        last = now
        time.sleep(QUIET_S)


def of_censuses_s(recording):
    return rows(recording, "SELECT sum(cpu_us) AS us FROM census")[0]["us"] / \
        1e6


class Step(object):
    """Between two words of the target's."""

    def __init__(self, target, collector, recording):
        self.target = target
        self.collector = collector
        self.recording = recording
        self.wait()
        self.ns = 1e9 * (settled_s(collector.pid) - of_censuses_s(recording))
        self.kib = kib_of(collector.pid, "smaps_rollup", "Pss")

    def wait(self):
        if self.target.stdout.readline() != b"ready\n":
            raise Failure("live: it ended with %s" % self.target.wait())

    def next(self):
        self.target.stdin.write(b"\n")
        self.target.stdin.flush()
        return Step(self.target, self.collector, self.recording)


class Crowd(object):
    """What was found, by the shape of the blocks."""

    def __init__(self, rig, size):
        self.rig = rig
        self.size = size
        self.births = {name: [] for name, _ in SHAPES}  # ns an event
        self.pairs = {name: [] for name, _ in SHAPES}
        self.block_bytes = {name: [] for name, _ in SHAPES}

    def measure(self, progress):
        for _ in range(self.size.crowd_rounds):
            for name, n_bytes in SHAPES:
                self.once(name, n_bytes)
        progress("collector: %d blocks" % self.size.n_live)

    def once(self, name, n_bytes):
        with self.rig.directory() as directory:
            socket = os.path.join(directory, "socket")
            collector = self.rig.start_collector(socket, directory, "exact")
            target = subprocess.Popen(
                [os.path.join(self.rig.build, "tests", "bench", "live"),
                 str(self.size.n_live), str(self.size.n_churns), str(n_bytes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=self.rig.environment("exact", 1, socket))
            try:
                begun = Step(target, collector, os.path.join(
                    directory, "residue.%d.rec" % collector.pid))
                filled = begun.next()
                churned = filled.next()
            finally:
                target.kill()
                target.communicate()
                self.rig.end_collector(collector)
        self.births[name].append((filled.ns - begun.ns) / self.size.n_live)
        self.pairs[name].append((churned.ns - filled.ns) /
                                (2 * self.size.n_churns))
        self.block_bytes[name].append((filled.kib - begun.kib) * 1024 /
                                      self.size.n_live)

    def row(self, name):
        row = [name]
        for found in (self.births[name], self.pairs[name]):
            rates = [1e3 / ns for ns in found]
            row += [statistics.median(rates),
                    "%.1f..%.1f" % (min(rates), max(rates))]
        return row + [statistics.median(self.block_bytes[name])]

    def print_all(self):
        print_table(
            "The collector at level exact, {:,} live blocks: millions of "
            "events a second of its CPU,\nmedian and range of {} rounds, and "
            "bytes of its memory a live block".format(
                self.size.n_live, self.size.crowd_rounds),
            [("blocks of", 0), ("births\nM/s", 1), ("", 0),
             ("random deaths\nand births M/s", 1), ("", 0),
             ("bytes a\nlive block", 1)],
            [self.row(name) for name, _ in SHAPES])

    def goals(self):
        worst = min(1e9 / statistics.median(found)
                    for found in self.pairs.values())
        yield (worst >= EVENTS_A_SECOND, "the collector takes %.0f M events a "
               "second on one core at %.0e live blocks: %.1f" % (
                   EVENTS_A_SECOND / 1e6, self.size.n_live, worst / 1e6))
