"""What a target has alive, by an oracle's word and by the collector's.

The oracle is preloaded before residue's library and writes down what is alive,
under a lock of its own (tests/targets/shadow.c). Of every process the two sets
are compared address by address, with usable sizes, after its end.
"""
import glob
import os
import signal
import struct
import subprocess
import time

import chain
from chain import rows, same, wait_for

HEAD = struct.Struct("5Q")
ENTRY = struct.Struct("2Q")


class Unheard(AssertionError):
    """A process did not wait until the collector had welcomed it."""


class Oracle:
    """What a process' shadow says."""

    def __init__(self, path):
        with open(path, "rb") as file:
            content = file.read()
        self.doubles, self.unknown, self.overflow, self.births, \
            self.is_whole = HEAD.unpack_from(content)
        self.blocks = {addr: size for addr, size in ENTRY.iter_unpack(
            content[HEAD.size:]) if addr > 1}


class Lives:
    """What the collector had of it at its end."""

    def __init__(self, path):
        self.blocks = {}
        if not os.path.exists(path):
            raise Unheard("there is no %s" % path)
        with open(path) as file:
            for line in file:
                words = line.split()
                if words[0] == "orphans":
                    self.orphans, self.doubles = int(words[1]), int(words[3])
                else:
                    self.blocks[int(words[0], 16)] = int(words[1])


class Collector:
    """residued --exact in a folder, and what is run under it."""

    def __init__(self, on_full="--on-full=wait"):
        self.folder = chain.folder
        self.socket = os.path.join(self.folder, "s")
        self.process = subprocess.Popen(
            (chain.chain.residued, "--socket", self.socket, "--output",
             self.folder, "--exact", on_full, "--lives", self.folder),
            stdout=subprocess.PIPE, env=chain.clean_environment())
        self.process.stdout.readline()  # it listens, and has time to

    def environment(self, *preloads):
        """The oracle, residue's library, then the others."""
        return chain.clean_environment(
            LD_PRELOAD=" ".join((chain.chain.target("libshadow.so"),
                                 chain.chain.preload) + preloads),
            RESIDUE_SOCKET=self.socket, SHADOW_DIR=self.folder)

    def run(self, *command, **options):
        options.setdefault("env", self.environment())
        return chain.run(*command, **options)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        same("residued's exit status", self.process.wait(chain.TIMEOUT), 0)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def recording(self):
        return glob.glob(os.path.join(self.folder, "*.rec"))[0]


def compare(folder):
    """A sentence; every process that has both files is compared."""
    n_blocks = n_births = 0
    pids = []
    for path in glob.glob(os.path.join(folder, "*.shadow")):
        pid = int(os.path.basename(path).split(".")[0])
        ours = Lives(os.path.join(folder, "%d.live" % pid))
        true = Oracle(path)
        if true.blocks and not ours.blocks:
            raise Unheard("process %d told nothing" % pid)
        same("whole, overflow of the oracle", (true.is_whole, true.overflow),
             (1, 0))
        same("orphans, doubles of %d" % pid, (ours.orphans, ours.doubles),
             (true.unknown, true.doubles))
        if ours.blocks != true.blocks:
            differ = set(ours.blocks.items()) ^ set(true.blocks.items())
            raise AssertionError(
                "process %d: of %d blocks (ours %d) %d differ: %s" % (
                    pid, len(true.blocks), len(ours.blocks), len(differ),
                    ", ".join("%#x %d" % one for one in sorted(differ)[:6])))
        n_blocks += len(true.blocks)
        n_births += true.births
        pids.append(pid)
    if not pids:
        raise AssertionError("nobody was compared")
    return "%d processes, %d births, %d blocks alive" % (len(pids), n_births,
                                                         n_blocks)


def losses(recording):
    """Events and batches, of all processes."""
    return rows(recording, "SELECT coalesce(sum(lost_events), 0), "
                "coalesce(sum(lost_batches), 0) FROM process")[0]


def check_lossless(recording):
    same("lost events and batches", losses(recording), (0, 0))


def again(check, *arguments):
    """A process waits 100 ms to be welcomed. On a machine that is busy with
    something else this may be too short: then it is run again after a while, at
    most four times, and this is said."""
    for attempt in range(3):
        try:
            return check(*arguments)
        except Unheard as unheard:
            print("# run %d, to be repeated: %s" % (attempt + 1, unheard))
            chain.fresh_folder()
            time.sleep(attempt + 1)  # what is in the way may pass
    return check(*arguments)


def follow(*command, status=0):
    return again(follow_once, command, status)


def follow_once(command, status):
    with Collector() as collector:
        result = collector.run(*command)
        collector.end()
        same("exit status", (result.returncode, result.stderr), (status, b""))
        check_lossless(collector.recording())
        return compare(collector.folder)
