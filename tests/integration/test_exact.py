"""At level exact the collector's live blocks are the target's, one by one.

An oracle is preloaded before residue's library and writes down what is alive,
under a lock of its own (tests/targets/shadow.c). Of every process the two sets
are compared address by address, with usable sizes, after its end.
"""
import contextlib
import glob
import os
import signal
import struct
import subprocess

import chain
from chain import on_every_interpreter, rows, same

HEAD = struct.Struct("4Q")
ENTRY = struct.Struct("2Q")


class Unheard(AssertionError):
    """A process did not wait until the collector had welcomed it."""


class Oracle:
    """What a process' shadow says."""

    def __init__(self, path):
        with open(path, "rb") as file:
            content = file.read()
        self.doubles, self.unknown, self.overflow, self.births = \
            HEAD.unpack_from(content)
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

    def run(self, *command, **options):
        preload = "%s %s" % (chain.chain.target("libshadow.so"),
                             chain.chain.preload)
        return chain.run(*command, env=chain.clean_environment(
            LD_PRELOAD=preload, RESIDUE_SOCKET=self.socket,
            SHADOW_DIR=self.folder, **options))

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
        same("overflow of the oracle", true.overflow, 0)
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


def check_lossless(recording):
    lost = rows(recording, "SELECT coalesce(sum(lost_events), 0), "
                "coalesce(sum(lost_batches), 0) FROM process")[0]
    same("lost events and batches", lost, (0, 0))


def follow(*command, status=0):
    """A process waits 100 ms to be welcomed. On a machine that is busy with
    something else this may be too short: then it is run again, at most four
    times, and this is said."""
    for attempt in range(3):
        try:
            return follow_once(command, status)
        except Unheard as unheard:
            print("# run %d, to be repeated: %s" % (attempt + 1, unheard))
            chain.fresh_folder()
    return follow_once(command, status)


def follow_once(command, status):
    with Collector() as collector:
        result = collector.run(*command)
        collector.end()
        same("exit status", (result.returncode, result.stderr), (status, b""))
        check_lossless(collector.recording())
        return compare(collector.folder)


# ---- programs --------------------------------------------------------------

def test_one_thread():
    """Of one thread's blocks the live ones are known"""
    return [(True, follow(chain.chain.target("exchange"), "0", "300000"))]


def test_threads():
    """Of threads that hand blocks to one another the live ones are known"""
    points = []
    for n_threads, n_rounds in ((1, 50000), (3, 50000), (7, 20000),
                                (63, 3000)):
        chain.fresh_folder()
        points.append((True, "%d threads: %s" % (
            n_threads + 1, follow(chain.chain.target("exchange"),
                                  str(n_threads), str(n_rounds)))))
    return points


def test_programs():
    """Of programs as they come the live ones are known, in all processes"""
    python = chain.some_python().path
    points = []
    for what, command in (
            ("sh with children", ("sh", "-c", "ls / | sort | head -3 >o; "
                                  "(echo a; true) | cat >o; exit 0")),
            ("gcc", ("gcc", "-O1", "-w", "-o", "o", "-x", "c",
                     chain.chain.source("exchange.c"))),
            ("sqlite3", ("sqlite3", ":memory:", SQL)),
            ("forks among threads", (python, "-c", FORKS)),
            ("processes of multiprocessing", (python, "-c", POOL))):
        chain.fresh_folder()
        try:
            points.append((True, "%s: %s" % (what, follow(*command))))
        except AssertionError as error:
            points.append((False, "%s: %s" % (what, error)))
    return points


def churn(interpreter):
    return follow(interpreter.path, "-c", CHURN)


def test_every_interpreter():
    """Of an interpreter's calls of malloc the live blocks are known"""
    return on_every_interpreter(churn)


SQL = ("CREATE TABLE t(a, b); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
       "SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, hex(i) "
       "FROM n; CREATE INDEX j ON t(b); DELETE FROM t WHERE a % 3 = 0; "
       "SELECT count(*) FROM t WHERE b LIKE '%1%' GROUP BY a % 7 LIMIT 0;")
FORKS = """
import os, threading
kept = []
def work(n):
    for i in range(300):
        kept.append(bytearray(600 + n * i))
        if len(kept) > 100:
            del kept[::2]
        if i % 60 == 0:
            child = os.fork()
            if child == 0:
                del kept[:]
                more = [bytearray(1000 + k) for k in range(50)]
                os._exit(0)
            os.waitpid(child, 0)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for one in threads:
    one.start()
for one in threads:
    one.join()
"""
POOL = """
import multiprocessing as m
def work(n):
    return len([bytearray(600 + i) for i in range(n)])
if __name__ == '__main__':
    with m.get_context('fork').Pool(3) as pool:
        pool.map(work, [500] * 9)
        pool.close()
        pool.join()
"""
CHURN = """
import json
kept = []
for i in range(60):
    kept.append(json.loads(json.dumps({'a': list(range(200)), 'b': 'x' * 900,
                                       'c': [{'d': k} for k in range(100)]})))
    if i % 3 == 0:
        del kept[::2]
big = bytearray(1 << 20)
big.extend(b'y' * 300000)
del big
"""


# ---- ends ------------------------------------------------------------------

def test_killed():
    """Of a program that is killed at any moment nothing told is missing"""
    points = []
    for after in (0.05, 0.1, 0.2, 0.4):
        chain.fresh_folder()
        with Collector() as collector:
            result = collector.run("timeout", "-s", "KILL", str(after),
                                   chain.chain.target("exchange"), "3",
                                   "100000000")
            collector.end()
            if result.returncode not in (137, -9):
                raise AssertionError("it ended with %d" % result.returncode)
            points.append((True, compare_killed(collector.folder)))
    return points


def compare_killed(folder):
    """A call may have been under way in each thread when the end came."""
    n_blocks = n_differ = 0
    for path in glob.glob(os.path.join(folder, "*.shadow")):
        pid = int(os.path.basename(path).split(".")[0])
        live = os.path.join(folder, "%d.live" % pid)
        if not os.path.exists(live) or os.path.getsize(path) == 0:
            continue  # it was killed before it had begun
        ours = Lives(live)
        true = Oracle(path)
        if not ours.blocks:
            continue  # the same, or not welcomed in time
        differ = set(ours.blocks.items()) ^ set(true.blocks.items())
        n_differ += len(differ)
        n_blocks += len(true.blocks)
        if ours.orphans > 4 or ours.doubles > 4:
            raise AssertionError("%d orphans, %d doubles" %
                                 (ours.orphans, ours.doubles))
    if n_differ > 2 * 4:
        raise AssertionError("%d blocks differ" % n_differ)
    return "%d blocks alive, %d under way" % (n_blocks, n_differ)


if __name__ == "__main__":
    chain.main(globals())
