"""Killed at random moments, and on a full disk: what was told is not lost.

The moments are the same each time. There are 8 of the target, 8 of the
collector, and 2 disks; for more:

    RESIDUE_KILLS=100
"""
import contextlib
import ctypes
import json
import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time

import chain
from chain import Skip, collector_of, rows, run, same, slowness, wait_for
from oracle import (Collector, Lives, NOTHING, Oracle, Unheard, again,
                    check_lossless)
from programs import BUSY, BUSY_SECONDS
from test_on_full import Target

N_KILLS = int(os.environ.get("RESIDUE_KILLS", "8"))
SEED = 11


def moments(what, n, longest):
    """So many seconds each."""
    print("# %s: %d moments, seed %d" % (what, n, SEED))
    generator = random.Random(SEED)
    return [generator.uniform(0, longest) for _ in range(n)]


# ---- the target ------------------------------------------------------------

def kinds_of_targets():
    exchange = chain.chain.target("exchange")
    endless = "100000000"
    return (("1 thread", (exchange, "0", endless)),
            ("4 threads", (exchange, "3", endless)),
            ("16 threads", (exchange, "15", endless)),
            ("a family", (chain.chain.target("family"),)))


def explain(pid, ours, true):
    """The blocks that only the collector has, each by a call that was under way
    when the end came; the number of those. A call explains one: the block that
    it was to free, or the one that it had asked for. There are no others."""
    same("overflow of the oracle", true.overflow, 0)
    same("orphans, doubles of %d" % pid, (ours.orphans, ours.doubles),
         (true.unknown, true.doubles))
    missing = set(true.blocks.items()) - set(ours.blocks.items())
    if missing:
        raise AssertionError("process %d: of %d blocks %d are not known: %s" % (
            pid, len(true.blocks), len(missing), sorted(missing)[:6]))
    under_way = list(true.under_way)
    more = sorted(set(ours.blocks) - set(true.blocks))
    for addr in more:
        for call in ([one for one in under_way if one[0] == addr] or
                     [one for one in under_way if one[1] != NOTHING and
                      one[1] == ours.asked[addr]])[:1]:
            under_way.remove(call)
            break
        else:
            raise AssertionError(
                "process %d: %#x of %d bytes (%d asked) is explained by none "
                "of %r" % (pid, addr, ours.blocks[addr], ours.asked[addr],
                           true.under_way))
    return len(more)


class Tally:
    """What was compared so far."""

    def __init__(self):
        self.kills = self.processes = self.blocks = self.unfinished = 0
        self.under_way = self.births = 0

    def add(self, folder):
        for name in os.listdir(folder):
            if name.endswith(".shadow"):
                self.add_process(folder, int(name.split(".")[0]))

    def add_process(self, folder, pid):
        path = os.path.join(folder, "%d.shadow" % pid)
        live = os.path.join(folder, "%d.live" % pid)
        if os.path.getsize(path) == 0:
            return  # it was killed before it had done anything
        true = Oracle(path)
        if not true.is_whole:
            return  # likewise
        if not os.path.exists(live):
            if true.n_done != 0:
                raise Unheard("process %d made %d calls and told nothing" %
                              (pid, true.n_done))
            return  # it was killed in the first call that it made
        ours = Lives(live)
        if true.n_done > 1000 and not ours.blocks:
            raise Unheard("process %d told nothing" % pid)
        self.unfinished += explain(pid, ours, true)
        self.processes += 1
        self.blocks += len(true.blocks)
        self.births += true.births
        self.under_way += len(true.under_way)

    def __str__(self):
        return ("%d kills, %d processes, %d births, %d blocks alive, %d calls "
                "under way, of which %d are seen in the blocks, none is "
                "missing" % (self.kills, self.processes, self.births,
                             self.blocks, self.under_way, self.unfinished))


def kill_target(command, after):
    """The folder with what both sides say."""
    with Collector() as collector:
        with Target(*command, env=collector.environment(),
                    start_new_session=True) as target:
            target.go()
            time.sleep(after)
            os.killpg(target.process.pid, signal.SIGKILL)
            same("how it ended", target.process.wait(), -signal.SIGKILL)
        collector.end()
        check_lossless(collector.recording())
        tally = Tally()
        tally.add(collector.folder)
        if tally.processes == 0:
            raise AssertionError("nobody was compared")
        return tally


def test_target_killed():
    """Of a program that is killed at any moment nothing told is missing"""
    kinds = kinds_of_targets()
    tallies = {name: Tally() for name, _ in kinds}
    for i, after in enumerate(moments("targets", N_KILLS, 0.25)):
        name, command = kinds[i % len(kinds)]
        chain.fresh_folder()
        try:
            one = again(kill_target, command, after)
        except AssertionError as error:
            raise AssertionError("%s, killed after %.6f s: %s" % (
                name, after, error)) from error
        tallies[name].kills += 1
        for what in ("processes", "blocks", "births", "under_way",
                     "unfinished"):
            setattr(tallies[name], what,
                    getattr(tallies[name], what) + getattr(one, what))
    return [(True, "%s: %s" % (name, tallies[name])) for name, _ in kinds]


# ---- the collector ---------------------------------------------------------

STATUS = 7


def busy():
    return (chain.some_python().path, "-c", BUSY)


def bare():
    result = run(*busy())
    same("exit status", (result.returncode, result.stderr), (STATUS, b""))
    return result.stdout


def committed(recording):
    """The last tick and census that a reader can see now."""
    try:
        return (rows(recording, "SELECT max(t_us) FROM tick0")[0][0] or 0,
                rows(recording, "SELECT max(id) FROM census")[0][0] or 0)
    except sqlite3.Error:
        return (0, 0)


def check_whole(recording, is_sealed):
    """By SQLite's word, and each reader's; returns what `stats` prints."""
    same("integrity", rows(recording, "PRAGMA integrity_check"), [("ok",)])
    query = run(chain.chain.residue, "query", recording,
                "SELECT count(*) FROM v_processes")
    stats = run(chain.chain.residue, "stats", recording)
    why = run(chain.chain.residue, "why", recording)
    for result in (query, stats, why):
        same("status of a reader, and its complaint",
             (result.returncode, result.stderr), (0, b""))
    word = (b"its collector ended early" if is_sealed
            else b"or its collector could not finish it")
    for result in (stats, why):
        if word + b": this is what was committed" not in \
                b" ".join(result.stdout.split()):
            raise AssertionError("%r is not in %r" % (word, result.stdout))
    return json.loads(run(chain.chain.residue, "stats", "--json",
                          recording).stdout)


def killed_at_us(recording, monotonic_ns):
    """In the recording's time, or 0: it has none yet."""
    clock = rows(recording, "SELECT t_us, monotonic_ns FROM clock LIMIT 1")
    return clock[0][0] + (monotonic_ns - clock[0][1]) // 1000 if clock else 0


def check_recent(recording, killed_us, before):
    """What was there stays, and it goes up to about the last second."""
    tick, census = committed(recording)
    if tick < before[0] or census < before[1]:
        raise AssertionError("committed %r, found %r" % (
            before, (tick, census)))
    last = rows(recording, "SELECT max(t_us) FROM census")[0][0] or 0
    for what, at, least in (("tick", tick, 1000000),
                            ("census", last, 1500000)):
        if at < killed_us - least:
            raise AssertionError("the last %s is of %d us, the kill of %d" %
                                 (what, at, killed_us))
    return "the last tick %s s before, the last census %s s" % tuple(
        "%.2f" % ((killed_us - at) / 1e6) if at else "?" for at in (tick, last))


class Run:
    """BUSY under `residue run`, which says a word and seals by itself."""

    is_sealed = True

    def __init__(self, recording, *options):
        self.recording = recording
        self.process = subprocess.Popen(
            (chain.chain.residue, "run", "-o", recording) + options + busy(),
            env=chain.clean_environment(), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        wait_for(self.find_collector, "the collector")

    def find_collector(self):
        self.collector = collector_of(self.process.pid)
        return self.collector is not None

    def check_said(self, error):
        if b"residue: " not in error:
            raise AssertionError("nothing is said: %r" % error)

    def close(self):
        pass


class Daemon:
    """The same under a residued, whose recording nobody seals."""

    is_sealed = False

    def __init__(self, recording, *options):
        socket = os.path.join(chain.folder, "s")
        if os.path.exists(socket):
            os.unlink(socket)
        self.daemon = subprocess.Popen(
            (chain.chain.residued, "--socket", socket, "--output",
             os.path.dirname(recording)) + options, stdout=subprocess.PIPE,
            env=chain.clean_environment())
        self.daemon.stdout.readline()
        self.collector = self.daemon.pid
        self.recording = os.path.join(
            os.path.dirname(recording), "residue.%d.rec" % self.collector)
        self.process = subprocess.Popen(
            busy(), env=chain.clean_environment(
                LD_PRELOAD=chain.chain.preload, RESIDUE_SOCKET=socket),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def check_said(self, error):
        same("standard error", error, b"")

    def close(self):
        self.daemon.wait()
        self.daemon.stdout.close()


def check_unharmed(one, said, began):
    """What it says is what it says bare, and it took about as long."""
    output, error = one.process.communicate(timeout=60)
    took = time.monotonic() - began
    same("output, exit status", (output, one.process.returncode),
         (said, STATUS))
    one.check_said(error)
    if took > 8 * slowness():
        raise AssertionError("it took %.1f s" % took)
    return error


def was_never_begun(one):
    """`residue run` runs nothing without its collector; it may be too early."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if one.process.wait(0.3) == 125:
            output, error = one.process.communicate()
            return output == b"" and b"residued: it did not start" in error
    return False


def kill_collector(make, recording, options, delay, said):
    began = time.monotonic()
    one = make(recording, *options)
    try:
        time.sleep(delay)
        before = committed(one.recording)
        os.kill(one.collector, signal.SIGKILL)
        killed_ns = time.monotonic_ns()
        if delay < 0.3 and was_never_begun(one):
            return "before the program was begun, which was said"
        check_unharmed(one, said, began)
        if not rows(one.recording, "SELECT 1 FROM meta"):
            raise AssertionError("it is empty")
        check_whole(one.recording, one.is_sealed)
        return check_recent(one.recording, killed_at_us(
            one.recording, killed_ns), before)
    finally:
        if one.process.poll() is None:
            one.process.kill()
        one.close()


def test_collector_killed():
    """With the collector killed the target goes on, what was committed stays"""
    said = bare()
    kinds = [(make, options) for make in (Run, Daemon)
             for options in ((), ("--exact",))]
    points = []
    for i, delay in enumerate(moments("collectors", N_KILLS, 1.65)):
        make, options = kinds[i % len(kinds)]
        what = "%s%s, killed after %.6f s" % (
            make.__name__.lower(), " at exact" if options else "", delay)
        recording = os.path.join(chain.folder, "k%d.rec" % i)
        try:
            points.append((True, "%s, %s" % (what, kill_collector(
                make, recording, options, delay, said))))
        except Exception as error:
            points.append((False, "%s: %s" % (what, error)))
    return points


# ---- a full disk -----------------------------------------------------------

SMALL_BYTES = 6 << 20
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
MS_PRIVATE_ALL = 0x44000


def must(what, result):
    if result != 0:
        raise Skip("%s: %s" % (what, os.strerror(ctypes.get_errno())))


def mount_small(path):
    """Seen by this process and its children alone, and gone with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    is_root = os.geteuid() == 0
    uid, gid = os.getuid(), os.getgid()
    must("no namespaces", libc.unshare(
        CLONE_NEWNS | (0 if is_root else CLONE_NEWUSER)))
    if not is_root:
        for name, text in (("setgroups", "deny"), ("uid_map", "%d %d 1" %
                           (uid, uid)), ("gid_map", "%d %d 1" % (gid, gid))):
            with open("/proc/self/" + name, "w") as file:
                file.write(text)
    must("no mount of its own", libc.mount(b"none", b"/", None,
                                           MS_PRIVATE_ALL, None))
    must("no tmpfs", libc.mount(b"none", path.encode(), b"tmpfs", 0,
                                b"size=%d" % SMALL_BYTES))


def on_small_disk(scenario, *arguments):
    """scenario(path, ...) in a process that has a small disk at path; it
    returns a sentence."""
    path = os.path.join(chain.folder, "small")
    os.makedirs(path, exist_ok=True)
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mount_small(path)
            answer = ["said", scenario(path, *arguments)]
        except Skip as reason:
            answer = ["skip", str(reason)]
        except BaseException as error:
            answer = ["wrong", "%s: %s" % (type(error).__name__, error)]
        os.write(writing, json.dumps(answer)[:60000].encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        kind, text = json.loads(file.read())
    os.waitpid(child, 0)
    if kind == "skip":
        raise Skip(text)
    if kind == "wrong":
        raise AssertionError(text)
    return text


def fill(path):
    """Until not a byte more fits; the name of the file that did it."""
    name = os.path.join(path, "filler")
    with open(name, "ab", buffering=0) as file:
        for size in (65536, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    same("room left", os.statvfs(path).f_bavail, 0)
    return name


class Meter:
    """What a collector uses of memory and of a core from now on."""

    def __init__(self, pid):
        self.pid = pid
        self.began = time.monotonic()
        self.ticks = self.cpu_ticks()
        self.first = self.most = self.rss()

    def rss(self):
        with open("/proc/%d/statm" % self.pid) as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def cpu_ticks(self):
        with open("/proc/%d/stat" % self.pid) as stat:
            return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13]))

    def watch(self, process):
        """Until the process ends."""
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                self.most = max(self.most, self.rss())
                self.used = self.cpu_ticks() - self.ticks
                self.took = time.monotonic() - self.began
            time.sleep(0.03)

    def check(self):
        share = self.used / os.sysconf("SC_CLK_TCK") / max(self.took, 0.1)
        grown = (self.most - self.first) / 1048576
        if grown > 10 or share > 0.25:
            raise AssertionError("it grew by %.1f MiB and used %.2f of a core" %
                                 (grown, share))
        return "it grew by %.1f MiB and used %.2f of a core" % (grown, share)


def check_one_line(error, path):
    """What, on what, and what to try, once."""
    said = [line for line in error.decode().splitlines()
            if "full" in line or "lost" in line or "committed" in line or
            "seal" in line]
    same("lines about it in %r" % error, len(said), 1)
    for word in (path, "it cannot be written to (database or disk is full)",
                 "make room there"):
        if word not in said[0]:
            raise AssertionError("%r is not in %r" % (word, said[0]))


def fill_under_run(path, delay, said):
    recording = os.path.join(path, "x.rec")
    began = time.monotonic()
    one = Run(recording)
    time.sleep(delay)
    before = committed(recording)
    filler = fill(path)
    meter = Meter(one.collector)
    meter.watch(one.process)
    check_one_line(check_unharmed(one, said, began), recording)
    for is_full in (True, False):
        after = committed(recording)
        if after[0] < before[0] or after[1] < before[1]:
            raise AssertionError("committed %r, found %r" % (before, after))
        check_whole(recording, False)
        if is_full:
            os.unlink(filler)
    return "%d us committed, %s" % (after[0], meter.check())


def fill_under_daemon(path, delay, said):
    """And then there is room again."""
    began = time.monotonic()
    errors = os.path.join(chain.folder, "errors")
    with open(errors, "wb") as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)  # is the collector's
        one = Daemon(os.path.join(path, "x.rec"))
        os.dup2(saved, 2)
    one.check_said = lambda error: same("standard error", error, b"")
    time.sleep(delay)
    before = committed(one.recording)
    filler = fill(path)
    meter = Meter(one.collector)
    time.sleep(0.35)
    os.unlink(filler)
    meter.watch(one.process)
    check_unharmed(one, said, began)
    time.sleep(0.3)
    one.daemon.send_signal(signal.SIGTERM)
    same("residued's exit status", one.daemon.wait(chain.TIMEOUT), 0)
    with open(errors, "rb") as file:
        check_one_line(file.read(), one.recording)
    after = committed(one.recording)
    if after[0] < before[0] or after[0] < delay * 1e6:
        raise AssertionError("committed %r, found %r" % (before, after))
    same("integrity", rows(one.recording, "PRAGMA integrity_check"), [("ok",)])
    gaps = rows(one.recording, "SELECT text FROM event WHERE kind = 'gap'")
    same("gaps", len(gaps), 1)
    same("sealed", chain.stats(one.recording)["sealed"], True)
    return "then %s; %s" % (gaps[0][0], meter.check())


def start_on_full(path):
    """Neither does anything: each says why."""
    fill(path)
    recording = os.path.join(path, "x.rec")
    result = run(chain.chain.residue, "run", "-o", recording, "echo", "ran")
    same("exit status, output", (result.returncode, result.stdout), (125, b""))
    check_one_line(result.stderr, recording)
    same("what is left of it", os.listdir(path), ["filler"])
    result = run(chain.chain.residued, "--socket", os.path.join(
        chain.folder, "s"), "--output", path)
    same("residued's exit status", result.returncode, 1)
    check_one_line(result.stderr, os.path.join(path, "residue."))
    same("what is left of it", os.listdir(path), ["filler"])
    return "both say so in one line"


def test_full_from_the_start():
    """On a disk that is full already nothing is begun"""
    return [(True, on_small_disk(start_on_full))]


def run_limited(which, n_bytes, said):
    """What it says, and the recording. Beyond its limit a write fails, and who
    does not expect that is killed."""
    recording = os.path.join(chain.folder, which + ".rec")
    began = time.monotonic()
    one = Run(recording)
    pid = one.process.pid if which == "run" else one.collector
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    return check_unharmed(one, said, began), recording


def test_limited_files():
    """Where our files may not grow a program is not harmed either"""
    said = bare()
    _, recording = run_limited("run", 4096, said)
    same("sealed", chain.stats(recording)["sealed"], True)
    error, recording = run_limited("residued", 600000, said)
    if b"it cannot be written to (" not in error or \
            b"ulimit -f" not in error:
        raise AssertionError("it says %r" % error)
    if chain.stats(recording)["sealed"]:  # all fitted when it was tried again
        # or at once, and the log of what was written not into its file.
        n_gaps = 0 if os.path.exists(recording + "-wal") else 1
        same("gaps", len(rows(recording, "SELECT text FROM event "
                              "WHERE kind = 'gap'")), n_gaps)
    else:
        check_whole(recording, False)
    tick = committed(recording)[0]
    return [(tick > 0, "%d us committed" % tick)]


def test_full_disk():
    """A disk that fills harms no program, and nothing that was committed"""
    said = bare()
    points = []
    for i, delay in enumerate(moments("disks", N_KILLS // 4, 0.9)):
        chain.fresh_folder()
        scenario = (fill_under_run, fill_under_daemon)[i % 2]
        what = "%s, after %.6f s" % (scenario.__name__.replace("_", " "), delay)
        try:
            points.append((True, "%s: %s" % (what, on_small_disk(
                scenario, delay, said))))
        except AssertionError as error:
            points.append((False, "%s: %s" % (what, error)))
    return points


if __name__ == "__main__":
    chain.main(globals())
