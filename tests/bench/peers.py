"""Other profilers, each as it is run by default, on the same workloads.

Which of them are there differs by machine: what is missing is said, in a line
each, and never an error.
"""
import os
import shutil
import statistics
import subprocess

from rig import Command, Failure

# massif makes a program so slow that it gets less to do, and that once.
MASSIF_SHARE = 0.2


class Peer(object):
    """before: what stands before the workload's program; nothing is residue."""

    def __init__(self, name, before, variables=None, share=1):
        self.name = name
        self.before = before
        self.variables = variables or {}
        self.share = share

    def command(self, program, output):
        arguments = [argument.replace("OUTPUT", output)
                     for argument in self.before]
        return Command(self.name, arguments + [program],
                       variables=self.variables)


def heaptrack(python):
    path = shutil.which("heaptrack")
    if path is None:
        raise Failure("heaptrack (apt-get install heaptrack)")
    return [Peer("heaptrack", [path, "-o", "OUTPUT", python])]


def memray(interpreter, directory, progress):
    """Installed into an environment of its own, if a registry answers."""
    place = "%s-%s" % (directory, interpreter.version)
    python = os.path.join(place, "bin", "python")
    steps = [[interpreter.path, "-m", "venv", place],
             [python, "-m", "pip", "install", "-q", "memray"]]
    check = [python, "-c", "import memray"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if not os.path.exists(python) or subprocess.call(check, **quiet) != 0:
        progress("installing memray in %s" % place)
        for step in steps + [check]:
            if subprocess.call(step, **quiet) != 0:
                raise Failure("memray (%s failed)" % " ".join(step))
    run = [python, "-m", "memray", "run", "-q", "-f", "-o", "OUTPUT"]
    return [Peer("memray", run),
            Peer("memray objects", run + ["--trace-python-allocators"])]


def tracemalloc(python):
    if subprocess.call([python, "-c", "import tracemalloc"],
                       stderr=subprocess.DEVNULL) != 0:
        raise Failure("tracemalloc (not in this Python)")
    return [Peer("tracemalloc", [python], {"PYTHONTRACEMALLOC": "1"})]


def massif(python):
    return [Peer("massif", [shutil.which("valgrind"), "--tool=massif",
                            "--massif-out-file=OUTPUT", python],
                 share=MASSIF_SHARE)]


def find(interpreter, directory, progress):
    """The peers that can be run, and why the others cannot; residue first."""
    found = [Peer("residue", [])]
    missing = []
    for look in (lambda: heaptrack(interpreter.path),
                 lambda: memray(interpreter, directory, progress),
                 lambda: tracemalloc(interpreter.path),
                 lambda: massif(interpreter.path)):
        try:
            found += look()
        except (Failure, OSError) as why:
            missing.append(str(why))
    return found, missing


def measure(rig, command, program, found, size, missing):
    """{name: CPU of everything over that of the bare program}"""
    scale = size.peer_scale
    costs = {peer.name: [] for peer in found}
    for i in range(size.peer_rounds):
        for peer in found:
            if peer.share != 1 and i > 0:
                continue
            bare_s = rig.run(command, "bare", scale * peer.share).cpu_s
            try:
                both_s = cpu_beside(rig, peer, command, program, scale)
                costs[peer.name].append(both_s / bare_s)
            except Failure as why:
                missing.append("%s on %s (%s)" % (peer.name, command.name,
                                                  str(why).split("\n")[0]))
    return {name: statistics.mean(ratios)
            for name, ratios in costs.items() if ratios}


def cpu_beside(rig, peer, command, program, scale):
    """Seconds of one run, the profiler's own processes included."""
    if not peer.before:
        cost = rig.run(command, "ours", scale)
        return cost.cpu_s + cost.collector_cpu_s
    with rig.directory() as directory:
        beside = peer.command(program, os.path.join(directory, "it"))
        return rig.run(beside, "bare", scale * peer.share).cpu_s
