"""redis-server in every way at once, and a fixed load on each in turn: its CPU
and how long requests take.
"""
import contextlib
import os
import signal
import statistics
import subprocess
import time

import redis_load
from census_rig import children_of
from figures import Ratio, print_table
from rig import Failure
from ways import NO_MEMRAY, WAYS, heaptrack

MOST_WAIT_S = 10


def cpu_ns(pid):
    """Time on a core of the threads that live, which redis' own do."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as text:
            total += int(text.read().split()[0])
    return total


class Server(object):
    """One, and the process of its profiler, if that has one."""

    def __init__(self, rig, way, directory):
        self.rig = rig
        self.collector = None
        command = redis_load.command(directory)
        socket = None
        if way == "heaptrack":
            command = [heaptrack(), "-o", os.path.join(directory, "it")
                       ] + command
        elif way not in ("bare", "null"):
            socket = os.path.join(directory, "socket")
            self.collector = rig.start_collector(socket, directory, way)
        self.started = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=rig.environment("bare" if way == "heaptrack" else way, 1,
                                socket))
        try:
            self.client = redis_load.Client(directory)
            self.pid, self.profiler = self.find(way)
        except (Failure, OSError):
            self.close()
            raise

    def find(self, way):
        if way != "heaptrack":
            return self.started.pid, self.collector and self.collector.pid
        found = {}
        for pid in children_of(self.started.pid):
            path = os.readlink("/proc/%d/exe" % pid)
            found["interpret" in path] = pid
        if len(found) != 2:
            raise Failure("heaptrack's processes were not found")
        return found[False], found[True]

    def cpu_ns(self):
        return cpu_ns(self.pid), self.profiler and cpu_ns(self.profiler)

    def window(self, seconds, rate):
        """Its CPU, with that of its profiler, and latencies."""
        before = self.cpu_ns()
        latencies = self.client.latencies(seconds, rate)
        own, beside = [after and after - was for was, after in
                       zip(before, self.cpu_ns())]
        return own / 1e9, (own + (beside or 0)) / 1e9, latencies

    def close(self):
        with contextlib.suppress(AttributeError, OSError):
            self.client.close()
            os.kill(self.pid, signal.SIGTERM)
        try:
            self.started.wait(MOST_WAIT_S)
        except subprocess.TimeoutExpired:
            self.started.kill()
            self.started.wait()
        if self.collector is not None:
            self.rig.end_collector(self.collector)


class Servers(object):
    def __init__(self, rig, size):
        self.rig = rig
        self.size = size
        self.found = {way: [] for way in WAYS}
        self.missing = [NO_MEMRAY]

    def measure(self, progress):
        with contextlib.ExitStack() as stack:
            servers = {}
            for way in WAYS:
                directory = stack.enter_context(self.rig.directory())
                try:
                    servers[way] = Server(self.rig, way, directory)
                except Failure as why:
                    self.missing.append(str(why))
                    continue
                stack.callback(servers[way].close)
                servers[way].client.fill(self.size.server_bytes)
            time.sleep(1)
            progress("redis: filled")
            ways = list(servers)
            for i in range(self.size.server_rounds):
                turn = i % len(ways)
                for way in ways[turn:] + ways[:turn]:
                    self.found[way].append(servers[way].window(
                        self.size.window_s, self.size.rate))
        if self.found["bare"]:
            progress("redis: CPU %.3f of the null interposer's" %
                     self.cpu("exact", "null").median)

    def cpu(self, way, against, which=0):
        return Ratio([(ours[which], theirs[which]) for ours, theirs in
                      zip(self.found[way], self.found[against])])

    def latency(self, way, against, part):
        return Ratio([(redis_load.quantile(ours[2], part),
                       redis_load.quantile(theirs[2], part))
                      for ours, theirs in zip(self.found[way],
                                              self.found[against])])

    def row(self, way):
        found = self.found[way]
        if not found:
            return [way] + [None] * 10
        row = [way, statistics.median(own for own, _, _ in found) * 1e3 /
               self.size.window_s]
        for against in ("null", "bare"):
            ratio = self.cpu(way, against)
            row += [ratio.median, ratio.span()]
        row.append(self.cpu(way, "bare", 1).median)
        for part in (0.5, 0.99):
            ratio = self.latency(way, "null", part)
            row += [statistics.median(redis_load.quantile(latencies, part)
                                      for _, _, latencies in found),
                    ratio.median]
        return row + [ratio.span()]

    def print_all(self):
        if not self.found["bare"]:
            print("\nredis is not measured: %s" % ", ".join(self.missing))
            return
        print_table(
            "redis-server with %d MB of values, %d requests a second, %d "
            "windows of %d s in turn:\nCPU, `both` with the profiler's own, "
            "and latency in us; medians and ranges" % (
                self.size.server_bytes / 1e6, self.size.rate,
                self.size.server_rounds, self.size.window_s),
            [("", 0), ("CPU\nms/s", 1), ("/null", 3), ("", 0),
             ("/bare", 3), ("", 0), ("both\n/bare", 3), ("p50", 0),
             ("/null", 2), ("p99", 0), ("/null", 2), ("", 0)],
            [self.row(way) for way in WAYS])
        for why in self.missing:
            print("not measured: %s" % why)

    def goals(self, most):
        if not self.found["bare"]:
            return
        for way in ("exact", "watch"):
            ratio = self.cpu(way, "null").median
            yield (ratio <= most[way], "redis within %.2f of the null "
                   "interposer at level %s, by CPU: %.3f" % (most[way], way,
                                                             ratio))
