"""Targets of the census' benchmark, and what is seen of them and of residued.

Nothing here ends or stops what it did not start.
"""
import contextlib
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time

from rig import Failure

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 600


# ---- /proc -----------------------------------------------------------------

def kib_of(pid, name, word):
    """A number of /proc/PID/status or smaps_rollup, in KiB."""
    with open("/proc/%d/%s" % (pid, name)) as text:
        found = re.search(r"^%s:\s+(\d+)" % word, text.read(), re.MULTILINE)
    if found is None:
        raise Failure("/proc/%d/%s has no %s" % (pid, name, word))
    return int(found.group(1))


def cpu_s(pid):
    """User and system time of a process that lives."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def state_of(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


class Stops:
    """Looks every two milliseconds whether a process is stopped."""

    def __init__(self, pid):
        self.pid = pid
        self.n_looks = 0
        self.n_stops = 0
        self._is_over = threading.Event()
        self._looker = threading.Thread(target=self._look)

    def _look(self):
        while not self._is_over.wait(0.002):
            self.n_looks += 1
            self.n_stops += state_of(self.pid) in "Tt"

    def __enter__(self):
        self._looker.start()
        return self

    def __exit__(self, *unused):
        self._is_over.set()
        self._looker.join()


# ---- programs --------------------------------------------------------------

def clean_environment():
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("LD_", "PYTHON", "RESIDUE_", "MALLOC_"))}


class Program:
    """A program of ours that speaks line by line; ended when we leave."""

    def __init__(self, arguments, directory):
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd=directory, env=clean_environment())
        self.pid = self.process.pid

    def line(self):
        text = self.process.stdout.readline()
        if not text:
            raise Failure("%s ended: %s" % (self.process.args[0],
                                            self.process.wait()))
        return text.decode().rstrip("\n")

    def ask(self, text=""):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        return self.line()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as children:
        return [int(word) for word in children.read().split()]


def name_of(pid):
    with open("/proc/%d/comm" % pid) as comm:
        return comm.read().strip()


class Watched(Program):
    """The same under `residue run`: pid is the program's own, collector that
    of its residued."""

    def __init__(self, rig, arguments, directory):
        self.rig = rig
        self.recording = os.path.join(directory, "it.rec")
        super().__init__([rig.residue, "run", "-q", "-f", "-o", self.recording,
                          "--"] + arguments, directory)
        self.runner = self.pid
        self.collector = None

    def settle(self):
        """Once it is known to run: who is who."""
        until = time.monotonic() + 30
        while self.collector is None and time.monotonic() < until:
            for pid in self._nearby():
                if name_of(pid) == "residued":
                    self.collector = pid
                elif pid != self.runner:
                    self.pid = pid
            time.sleep(0.05)
        if self.collector is None or self.pid == self.runner:
            raise Failure("%s: its residued is not to be found" %
                          self.recording)
        return self

    def _nearby(self):
        """Children of the runner's, and residued, which has its socket."""
        yield from children_of(self.runner)
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                with open("/proc/%s/cmdline" % name, "rb") as text:
                    words = text.read().split(b"\0")
                if any(word.endswith(b"/run.%d" % self.runner)
                       for word in words):
                    yield int(name)

    def mark(self, text):
        done = subprocess.run(
            [self.rig.residue, "mark", self.recording, text],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise Failure("residue mark: %s" % done.stderr.decode())


class Rig:
    """One build, and a directory for what the runs leave behind."""

    def __init__(self, build):
        self.build = build
        self.top = os.path.dirname(os.path.dirname(os.path.dirname(
            os.path.realpath(__file__))))
        self.residue = os.path.join(build, "report", "residue")
        self.census = os.path.join(build, "tests", "bench", "census")
        self.sparse = os.path.join(build, "tests", "targets", "sparse")
        self.scratch = tempfile.mkdtemp(prefix="bench-census.")

    def close(self):
        shutil.rmtree(self.scratch)

    @contextlib.contextmanager
    def directory(self):
        directory = tempfile.mkdtemp(dir=self.scratch)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def heap(self, python, gib):
        return [python, os.path.join(self.top, "tests", "bench", "heap.py"),
                str(gib)]

    # ---- censuses ----------------------------------------------------------

    def take(self, pid, n):
        """[(what, took ms, cpu ms, read bytes, rss, unexplained, arenas)]"""
        done = subprocess.run([self.census, str(pid), str(n)],
                              stdout=subprocess.PIPE, check=False,
                              timeout=PATIENCE_S)
        if done.returncode != 0:
            raise Failure("census %d failed" % pid)
        taken = []
        for line in done.stdout.decode().splitlines():
            words = line.split()
            numbers = [int(word) for word in words[1:]]
            taken.append((words[0], numbers[0] / 1e3, numbers[1] / 1e3,
                          *numbers[2:]))
        return taken

    def inspect(self, pid, n, directory):
        """A recording of N looks, one a second."""
        recording = os.path.join(directory, "inspect.rec")
        subprocess.run([self.residue, "inspect", "--every", "1s", "-n", str(n),
                        "-f", "-o", recording, str(pid)],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=True, timeout=PATIENCE_S)
        return recording


def rows(recording, sql):
    database = sqlite3.connect(recording)
    database.row_factory = sqlite3.Row
    try:
        return database.execute(sql).fetchall()
    finally:
        database.close()


def censuses(recording):
    """Those of the first process, oldest first."""
    return rows(recording, "SELECT * FROM census WHERE process = 1 "
                "ORDER BY t_us, id")
