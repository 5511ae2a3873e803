"""One program in every way, side by side: bare, under the null interposer, at
the levels, and under heaptrack.

A peer may take what it likes, but not the machine: it has so much address space
and so much time. How it ends is part of what is found.
"""
import os
import resource
import shutil
import signal
import statistics
import subprocess
import time

from figures import Ratio, print_table
from rig import Failure

WAYS = ("bare", "null", "watch", "exact", "heaptrack")
PEER_BYTES = 8 << 30
PEER_PATIENCE_S = 120

NO_MEMRAY = "memray (it runs Python programs only)"


def heaptrack():
    path = shutil.which("heaptrack")
    if path is None:
        raise Failure("heaptrack (apt-get install heaptrack)")
    return path


def how(status):
    """A status of subprocess', said."""
    if status < 0 or status > 128:
        number = -status if status < 0 else status - 128
        return "killed by %s" % signal.Signals(number).name
    return "exit status %d" % status


def bound():
    resource.setrlimit(resource.RLIMIT_AS, (PEER_BYTES, PEER_BYTES))


def under_heaptrack(rig, command):
    """CPU of the program and the profiler together, and how it ended."""
    with rig.directory() as directory:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = subprocess.Popen(
            [heaptrack(), "-o", os.path.join(directory, "it")] +
            command.arguments, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=bound,
            start_new_session=True, env=rig.environment("bare", 1))
        try:
            said = how(started.wait(PEER_PATIENCE_S))
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
            said = "not done after %d s" % PEER_PATIENCE_S
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime +
            after.ru_stime - before.ru_stime, said)


class Beside(object):
    """A command's rounds; of each way the program's CPU, and with it that of
    its profiler.
    """

    def __init__(self, rig, command, n_rounds, peers=None, peers_share=1):
        """peers: what they are given instead, a part of the whole."""
        self.rig = rig
        self.command = command
        self.n_rounds = n_rounds
        self.peers = peers or command
        self.peers_share = peers_share
        self.own = {way: [] for way in WAYS}
        self.both = {way: [] for way in WAYS}
        self.wall = {way: [] for way in WAYS}
        self.ends = []  # heaptrack's, that were none
        self.missing = [NO_MEMRAY]

    def measure(self, progress):
        ways = list(WAYS)
        for i in range(self.n_rounds):
            turn = i % len(ways)
            for way in ways[turn:] + ways[:turn]:
                self.once(way)
        progress("%s: %s" % (self.command.name, self.said("exact")))

    def once(self, way):
        if way != "heaptrack":
            cost = self.rig.run(self.command, way, 1)
            self.own[way].append(cost.cpu_s)
            self.both[way].append(cost.cpu_s + (cost.collector_cpu_s or 0))
            self.wall[way].append(cost.wall_s)
            return
        if self.ends or self.missing != [NO_MEMRAY]:
            return
        started = time.monotonic()
        try:
            both_s, said = under_heaptrack(self.rig, self.peers)
        except Failure as why:
            self.missing.append(str(why))
            return
        if said != how(0):
            self.ends.append(said)
            return
        self.both[way].append(both_s / self.peers_share)
        self.wall[way].append((time.monotonic() - started) /
                              self.peers_share)

    def ratio(self, way, against, costs=None):
        found = (costs or self.own)[way]
        if not found:
            return None
        return Ratio(list(zip(found, (costs or self.own)[against])))

    def said(self, way):
        return "CPU %.3f of the null interposer's" % self.ratio(
            way, "null").median

    def row(self, way):
        row = [way, statistics.median(self.own[way]) if self.own[way] else None]
        for against in ("null", "bare"):
            ratio = self.ratio(way, against)
            row += [ratio and ratio.median, ratio and ratio.span()]
        for costs in (self.both, self.wall):
            ratio = self.ratio(way, "bare", costs)
            row += [ratio and ratio.median, ratio and ratio.span()]
        return row

    def print_all(self):
        print_table(
            "%s: CPU, medians and ranges of %d interleaved rounds; `both` "
            "with the profiler's\nown, and wall time" % (
                self.command.name, self.n_rounds),
            [("", 0), ("CPU s", 2), ("/null", 3), ("", 0), ("/bare", 3),
             ("", 0), ("both\n/bare", 3), ("", 0), ("wall\n/bare", 2),
             ("", 0)],
            [self.row(way) for way in WAYS])
        for said in self.ends:
            print("heaptrack on %s: %s" % (self.command.name, said))
        for why in self.missing:
            print("not measured: %s" % why)

    def goals(self, most):
        for way in ("exact", "watch"):
            ratio = self.ratio(way, "null").median
            yield (ratio <= most[way], "%s within %.2f of the null interposer "
                   "at level %s, by CPU: %.3f" % (self.command.name, most[way],
                                                  way, ratio))
