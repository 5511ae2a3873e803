"""Runs one program in one of several ways and counts what it cost.

bare: as it is; null: under the null interposer; ours: under the preload, with a
collector of its own beside it, at the rig's level, or where the way is the name
of a level, at that one. The target is always our own child, so that what
is counted is its own and nobody else's.

A preload that says nothing is cheap: every run of ours must be found in its
recording, or nothing is reported of it.
"""
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

WAYS = ("bare", "null", "ours")

# What residued is told, beside that it is waited for.
LEVELS = {
    "watch": [],
    "exact": ["--exact", "--on-full=wait"],
    "stacks": ["--native-stacks", "--on-full=wait"],
}


class Failure(Exception):
    """Something could not be measured."""


class Cost(object):
    """What one run cost, and for ours what the recording says of it."""

    def __init__(self):
        self.instructions = None
        self.cpu_s = None  # user and system, of the target alone
        self.wall_s = None
        self.collector_cpu_s = None
        self.censuses = None
        self.lost_events = None
        self.profiler_bytes = None


class Command(object):
    """A target, and what a recording must hold if it was followed."""

    def __init__(self, name, arguments, python=None, least_births=0,
                 variables=None):
        self.name = name
        self.arguments = arguments
        self.variables = variables or {}
        self.python = python  # its version, or None: native
        self.least_births = least_births


def output_of(arguments, environment=None):
    """What a program prints, of which we only want to know that."""
    try:
        return subprocess.check_output(
            arguments, env=environment, stderr=subprocess.STDOUT).decode()
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failure("%s: %s\n%s" % (" ".join(arguments), error,
                                      getattr(error, "output", "")))


class Rig(object):
    """One build, and a directory for what the runs leave behind."""

    def __init__(self, build, level="watch"):
        self.build = build
        self.top = os.path.dirname(os.path.dirname(os.path.dirname(
            os.path.realpath(__file__))))
        self.level = LEVELS[level]
        self.residue = os.path.join(build, "report", "residue")
        self.residued = os.path.join(build, "collector", "residued")
        self.loop = os.path.join(build, "tests", "bench", "loop")
        self.libraries = {
            "null": os.path.join(build, "tests", "bench", "null.so"),
            "ours": os.path.join(build, "preload", "libresidue-preload.so"),
        }
        for path in [self.residue, self.residued, self.loop,
                     *self.libraries.values()]:
            if not os.path.exists(path):
                raise Failure("%s: not built" % path)
        self.scratch = tempfile.mkdtemp(prefix="bench.")

    def close(self):
        shutil.rmtree(self.scratch)

    def environment(self, way, scale, socket=None):
        """Ours, less everything that would make two runs differ."""
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("LD_", "PYTHON", "RESIDUE_"))}
        kept.update(PYTHONHASHSEED="0",
                    PYTHONDONTWRITEBYTECODE="1", BENCH_SCALE=str(scale))
        if way != "bare":
            kept["LD_PRELOAD"] = self.libraries.get(way,
                                                    self.libraries["ours"])
        if socket is not None:
            kept["RESIDUE_SOCKET"] = socket
        return kept

    def check_null(self, arguments):
        """That the null interposer is loaded, and all its functions found."""
        environment = self.environment("null", 1)
        environment["LD_DEBUG"] = "bindings"
        said = output_of(arguments, environment)
        if "/null.so [0]: normal symbol `malloc'" not in said:
            raise Failure("the null interposer was not used")

    # ---- one run -----------------------------------------------------------

    def run(self, command, way, scale):
        """A plain run: CPU and wall time."""
        return self._beside_collector(command, way, self._spend, scale)

    def count(self, command, way, scale):
        """A run under callgrind, which leaves malloc alone: instructions."""
        return self._beside_collector(command, way, self._count, scale)

    def _beside_collector(self, command, way, measure, scale):
        cost = Cost()
        if way in ("bare", "null"):
            environment = self.environment(way, scale)
            environment.update(command.variables)
            measure(command, environment, cost)
            return cost
        with self.directory() as directory:
            socket = os.path.join(directory, "socket")
            collector = self.start_collector(socket, directory, way)
            try:
                pid = measure(command, self.environment(way, scale, socket),
                              cost)
            finally:
                cost.collector_cpu_s = self.end_collector(collector)
            if collector.returncode != 0:
                raise Failure("%s: residued failed" % command.name)
            recording = os.path.join(
                directory, "residue.%d.rec" % collector.pid)
            self._look_for(command, pid, recording, cost)
        return cost

    @contextlib.contextmanager
    def directory(self):
        directory = tempfile.mkdtemp(dir=self.scratch)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def start_collector(self, socket, directory, way="ours"):
        collector = subprocess.Popen(
            [self.residued, "--socket", socket, "--output", directory] +
            LEVELS.get(way, self.level),
            stdout=subprocess.PIPE)
        if not collector.stdout.readline().startswith(b"listening"):
            collector.kill()
            collector.wait()
            raise Failure("residued did not start")
        return collector

    @staticmethod
    def end_collector(collector):
        """Returns the CPU seconds that it had."""
        os.kill(collector.pid, signal.SIGTERM)
        _, status, used = os.wait4(collector.pid, 0)
        collector.returncode = status
        collector.stdout.close()
        return used.ru_utime + used.ru_stime

    def _spend(self, command, environment, cost):
        said = os.path.join(self.scratch, "said")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        started = time.monotonic()
        pid = os.posix_spawn(
            command.arguments[0], command.arguments, environment,
            file_actions=[(os.POSIX_SPAWN_OPEN, 1, said, flags, 0o600),
                          (os.POSIX_SPAWN_DUP2, 1, 2)])
        _, status, used = os.wait4(pid, 0)
        cost.wall_s = time.monotonic() - started
        cost.cpu_s = used.ru_utime + used.ru_stime
        if status != 0:
            with open(said, errors="replace") as text:
                raise Failure("%s: wait status %d\n%s"
                              % (command.name, status, text.read()))
        return pid

    @staticmethod
    def _count(command, environment, cost):
        valgrind = subprocess.Popen(
            ["valgrind", "--tool=callgrind",
             "--callgrind-out-file=" + os.devnull] + command.arguments,
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        said = valgrind.communicate()[1].decode()
        counted = re.search(r"^==%d== Collected : (\d+)$" % valgrind.pid, said,
                            re.MULTILINE)
        if valgrind.returncode != 0 or counted is None:
            raise Failure("%s: callgrind failed\n%s" % (command.name, said))
        cost.instructions = int(counted.group(1))
        return valgrind.pid

    # ---- the recording -----------------------------------------------------

    def _look_for(self, command, pid, recording, cost):
        """Fails unless the target is in the recording, censuses and all."""
        query = "select python, births, python_births, lost_events, " \
                "(select count(*) from v_censuses where process = p.id) " \
                "from v_processes p where pid = ?"
        database = sqlite3.connect(recording)
        try:
            rows = database.execute(query, (pid,)).fetchall()
        finally:
            database.close()
        if len(rows) != 1:
            raise Failure("%s: %d processes with its pid were recorded"
                          % (command.name, len(rows)))
        python, births, python_births, lost_events, censuses = rows[0]
        if python != command.python:
            raise Failure("%s: recorded as python %s, not %s"
                          % (command.name, python, command.python))
        if births < command.least_births or (python and python_births == 0):
            raise Failure("%s: only %d births were recorded, %d of them the "
                          "interpreter's" % (command.name, births,
                                             python_births))
        if censuses == 0:
            raise Failure("%s: no census was recorded" % command.name)
        cost.censuses = censuses
        cost.lost_events = lost_events
        cost.profiler_bytes = self.profiler_bytes(recording, pid)

    def profiler_bytes(self, recording, pid):
        """What we added to the target's RSS, by its `end` census."""
        stats = json.loads(output_of([self.residue, "stats", "--json",
                                      recording]))
        for process in stats["processes"]:
            if process["pid"] == pid and process["ledger"] is not None:
                return process["ledger"]["profiler"]
        raise Failure("%s: no ledger for process %d" % (recording, pid))

    def run_with_residue(self, command):
        """Wall time of `residue run`, from fork to the sealed recording."""
        with self.directory() as directory:
            recording = os.path.join(directory, "rec")
            whole = Command(command.name, [
                self.residue, "run", "-q", *self.level, "-o", recording, "--",
                *command.arguments])
            cost = Cost()
            self._spend(whole, self.environment("bare", 0), cost)
            if not os.path.exists(recording):
                raise Failure("%s: nothing was recorded" % command.name)
        return cost.wall_s
