"""What a memory cgroup says, and whom the kernel's OOM killer ended in it."""
import contextlib
import glob
import os
import signal
import time

import chain
from chain import Live, Skip, record, rows, run, same, stats, wait_for, \
    wait_until_quiet

MIB = 1024 * 1024


# ---- groups of our own ----------------------------------------------------

def memory_mount():
    """(version, where the memory controller is mounted)."""
    found = None
    with open("/proc/self/mountinfo") as mounts:
        for line in mounts:
            mount, _, rest = line.partition(" - ")
            kind, _, options = rest.split(" ", 2)
            where = mount.split(" ")[4]
            if kind == "cgroup" and "memory" in options.strip().split(","):
                return 1, where
            if kind == "cgroup2":
                found = 2, where
    if found is None:
        raise Skip("no memory controller is mounted")
    return found


class Group:
    """A memory cgroup that is removed at the end, whatever happened."""

    FILES = {1: ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
             2: ("memory.max", "memory.swap.max")}

    def __init__(self, limit=None, within=None):
        self.version, mount = memory_mount()
        name = "residue-test-%d-%d" % (os.getpid(), time.monotonic_ns())
        self.path = os.path.join(within.path if within else mount, name)
        try:
            if self.version == 2:
                self.write("+memory", "..", "cgroup.subtree_control")
            os.mkdir(self.path)
        except OSError as error:
            raise Skip("no memory cgroup can be made here: %s" % error)
        try:
            if not os.path.exists(self.file("memory.stat")):
                raise Skip("the memory controller is not enabled here")
            if limit is not None:
                self.set_limit(limit)
        except BaseException:
            self.remove()
            raise

    def file(self, *names):
        return os.path.join(self.path, *names)

    def write(self, text, *names):
        with open(os.path.normpath(self.file(*names)), "w") as file:
            file.write(text)

    def set_limit(self, limit):
        size, swap = self.FILES[self.version]
        self.write(str(limit), size)
        with contextlib.suppress(OSError):  # not every kernel counts swap
            self.write(str(limit) if self.version == 1 else "0", swap)

    def enter(self, *command):
        """The command, in the group."""
        return ("sh", "-c", 'echo 0 > "$0" && exec "$@"',
                self.file("cgroup.procs")) + command

    def number(self, name):
        with open(self.file(name)) as file:
            return int(file.read())

    def stat(self):
        with open(self.file("memory.stat")) as file:
            return {key: int(value) for key, value in map(str.split, file)}

    def kills(self):
        name = {1: "memory.oom_control", 2: "memory.events"}[self.version]
        with open(self.file(name)) as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        raise Skip("this kernel does not count OOM kills")

    def least_limit(self):
        """On the way up to the mount, or None."""
        limits = []
        directory = self.path
        while os.path.exists(os.path.join(directory, "cgroup.procs")):
            with contextlib.suppress(OSError, ValueError):
                with open(os.path.join(directory,
                                       self.FILES[self.version][0])) as file:
                    limits.append(int(file.read()))
            directory = os.path.dirname(directory)
        return min([one for one in limits if one < 1 << 62], default=None)

    def remove(self):
        deadline = time.monotonic() + 10
        while True:
            try:
                os.rmdir(self.path)
                return
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                self.end_all()
                time.sleep(0.05)

    def end_all(self):
        with contextlib.suppress(OSError):
            with open(self.file("cgroup.procs")) as procs:
                for pid in map(int, procs.read().split()):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, 9)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.remove()


def record_in(group, *command):
    """`residue run` and all that it starts, in the group."""
    recording = os.path.join(chain.folder, "it.rec")
    result = run(*group.enter(chain.chain.residue, "run", "-f", "-o",
                              recording, "--", *command))
    return result, recording


def findings(recording):
    return [one["id"] for one in stats(recording)["verdict"]]


def kills_in(recording):
    """The processes that were ended so, by their events."""
    return [process for process, in rows(
        recording, "SELECT process FROM event WHERE kind = 'oom-kill'")]


# ---- who was killed -------------------------------------------------------

# Grows by 10 MB in a tenth of a second, beyond every limit of these tests; at
# 100 MB it waits until a census has come.
HOG = """
import time
kept = []
while True:
    kept.append([float(j) for j in range(12000)])
    time.sleep(1.5 if len(kept) == 260 else 0.004)
"""


def test_killed_at_the_limit():
    """Who is ended by the OOM killer is told so first, with the last census"""
    with Group(150 * MIB) as group:
        before = group.kills()
        result, recording = record_in(group, chain.some_python().path, "-c",
                                      HOG)
        same("exit status", result.returncode, 137)
        same("kills that the kernel counts", group.kills() - before, 1)
    document = stats(recording)
    one, = document["processes"]
    first = document["verdict"][0]
    same("finding", (first["id"], first["process"], first["confidence"]),
         ("cgroup-killed", 1, "high"))
    same("event", kills_in(recording), [1])
    same("exit", one["exit"], 137)
    same("sealed", document["sealed"], True)
    same("OOM kills", one["cgroup"]["oom_kills"], before + 1)
    same("limit", one["cgroup"]["max"], 150 * MIB)
    last, = rows(recording, "SELECT max(t_us) FROM census")[0]
    same("age", one["census"]["age_us"], one["end_us"] - last)
    if one["census"]["age_us"] > 2000000:
        raise AssertionError("the last census is %d us old" %
                             one["census"]["age_us"])
    if one["cgroup"]["current"] < 75 * MIB:
        raise AssertionError("the cgroup used %(current)d" % one["cgroup"])
    said = result.stderr.decode()
    if "OOM killer" not in said or "150.0 MiB" not in said or \
            "before" not in first["evidence"]:
        raise AssertionError("%s / %s" % (said, first["evidence"]))
    return [(True, "the last census is %d ms old" %
             (one["census"]["age_us"] // 1000))]


def test_a_child_is_killed():
    """A child that is ended so is told, and its parent's end is its own"""
    program = ("import subprocess, sys\n"
               "status = subprocess.call([sys.executable, '-c', '''%s'''])\n"
               "sys.exit(3 if status == -9 else 4)\n" % HOG)
    with Group(150 * MIB) as group:
        result, recording = record_in(group, chain.some_python().path, "-c",
                                      program)
    same("exit status", result.returncode, 3)
    same("event", kills_in(recording), [2])
    same("findings", findings(recording).count("cgroup-killed"), 1)
    same("first", findings(recording)[0], "cgroup-killed")


def test_a_late_collector():
    """A child is told so that was killed before the collector had seen it"""
    program = ("import subprocess, sys\n"
               "print('here', flush=True)\n"
               "sys.stdin.readline()\n"
               "print(subprocess.call([sys.executable, '-c', '''%s''']),"
               " flush=True)\n"
               "sys.stdin.readline()\n" % HOG)
    with Group(150 * MIB) as group:
        with Live(chain.some_python().path, "-c", program,
                  before=group.enter()) as live:
            live.line()
            collector, = collectors_of(live.process.pid)
            os.kill(collector, signal.SIGSTOP)
            try:
                live.say("go on")
                same("status", live.line(), "-9")
            finally:
                os.kill(collector, signal.SIGCONT)
            live.say("end")
            same("exit status", live.end(), 0)
    same("event", kills_in(live.recording), [2])


def test_a_kill_is_one_death():
    """Who is killed by somebody else after an OOM kill is not told so"""
    program = ("import os, subprocess, sys\n"
               "subprocess.call([sys.executable, '-c', '''%s'''])\n"
               "os.kill(os.getpid(), 9)\n" % HOG)
    with Group(150 * MIB) as group:
        result, recording = record_in(group, chain.some_python().path, "-c",
                                      program)
    same("exit status", result.returncode, 137)
    same("event", kills_in(recording), [2])


def test_an_ordinary_kill():
    """Without a kill of the kernel's a SIGKILL is somebody's"""
    with Group(150 * MIB) as group:
        result, recording = record_in(group, "sh", "-c", "kill -9 $$")
    same("exit status", result.returncode, 137)
    same("event", kills_in(recording), [])
    if "cgroup-killed" in findings(recording):
        raise AssertionError("%r" % findings(recording))


# Each is a tenth of the limit, so that the collector counts as more.
MANY = """
import os, time
for i in range(30):
    if os.fork() == 0:
        kept = bytearray(20 << 20)
        time.sleep(8)
        os._exit(0)
    time.sleep(0.1)
time.sleep(1)
"""


def test_the_collector_goes_first():
    """Where no program stands out, the collector goes before it"""
    with Group(200 * MIB) as group:
        result, recording = record_in(group, chain.some_python().path, "-c",
                                      MANY)
        group.end_all()
    said = result.stderr.decode()
    if "the collector ended early" not in said:
        raise AssertionError(said)
    document = stats(recording)
    same("sealed", document["sealed"], True)
    if len(document["processes"]) < 3:
        raise AssertionError("%d processes" % len(document["processes"]))
    n_censuses, = rows(recording, "SELECT count(*) FROM census")[0]
    return [(n_censuses > 0, "its recording has %d processes and %d censuses" %
             (len(document["processes"]), n_censuses))]


# ---- what a group says ----------------------------------------------------

# 40 MB of its own, 24 MB shared, 16 MB of a file's pages; then a child of 32.
FULL = """
import mmap, os, sys
own = bytearray(40 << 20)
shared = mmap.mmap(-1, 24 << 20)
shared.write(b'x' * (24 << 20))
with open('pages', 'wb') as file:
    file.write(b'y' * (16 << 20))
    os.fsync(file.fileno())
ends = os.pipe()
if os.fork() == 0:
    os.close(ends[1])
    more = bytearray(32 << 20)
    os.write(1, b'%d\\n' % os.getpid())
    os.read(ends[0], 1)
    os._exit(0)
os.close(ends[0])
os.read(0, 1)
"""


def check_near(what, ours, least, most):
    if not least <= ours <= most:
        raise AssertionError("%s: %.1f MiB is not from %.1f to %.1f" %
                             (what, ours / MIB, least / MIB, most / MIB))


def truth_of(group):
    stat = group.stat()
    if group.version == 2:
        return (group.number("memory.current"), stat["anon"],
                stat["file"] - stat["shmem"], stat["shmem"])
    return (group.number("memory.usage_in_bytes"), stat["total_rss"],
            stat["total_cache"] - stat["total_shmem"], stat["total_shmem"])


def test_a_census_has_its_figures():
    """A census has what the kernel says, taken apart"""
    with Group(400 * MIB) as group:
        with Live(chain.some_python().path, "-c", FULL,
                  before=group.enter()) as live:
            wait_until_quiet(int(live.line()))
            live.mark("full")
            current, anon, file, shmem = truth_of(group)
            said = stats(live.recording, "full")["processes"][0]
            live.end()
    cgroup = said["cgroup"]
    slack = 4 * MIB  # what the collector takes and writes after its census
    check_near("current", cgroup["current"], current - slack, current + slack)
    check_near("anon", cgroup["anon"], anon - slack, anon + slack)
    check_near("file", cgroup["file"], file - slack, file + slack)
    check_near("shmem", cgroup["shmem"], shmem - slack, shmem + slack)
    check_near("file", cgroup["file"], 16 * MIB, 30 * MIB)
    check_near("shmem", cgroup["shmem"], 24 * MIB, 26 * MIB)
    # The child's own, and what the collector and residue have.
    check_near("others", cgroup["others"], 32 * MIB, 48 * MIB)
    same("limit", cgroup["max"], 400 * MIB)
    same("collector", said["collector"]["shares_cgroup"], True)
    check_near("collector", said["collector"]["rss_bytes"], MIB, 40 * MIB)
    parts = sum(cgroup[part] or 0 for part in ("anon", "file", "shmem",
                                               "kernel"))
    check_near("sum of the parts", parts, cgroup["current"] - 4 * MIB,
               cgroup["current"] + 4 * MIB)
    if not rows(live.recording, "SELECT count(cgroup_last) FROM tick0")[0][0]:
        raise AssertionError("no tick has it")
    return [(True, "%.1f MiB are %.1f of programs (%.1f of others), %.1f of "
             "files, %.1f shared, %.1f the kernel's" % tuple(
                 cgroup[one] / MIB for one in (
                     "current", "anon", "others", "file", "shmem",
                     "kernel")))]


def test_limits():
    """The least limit on the way up counts; where there is none, it is null"""
    points = []
    with Group() as free:
        expected = free.least_limit()
        _, recording = record_in(free, "sleep", "0.3")
        cgroup = stats(recording)["processes"][0]["cgroup"]
        same("limit", cgroup["max"], expected)
        points.append((cgroup["current"] > 0, "no limit: %r, used %d" %
                       (cgroup["max"], cgroup["current"])))
    with Group(300 * MIB) as outer:
        with Group(500 * MIB, within=outer) as inner:
            _, recording = record_in(inner, "sleep", "0.3")
        cgroup = stats(recording)["processes"][0]["cgroup"]
        points.append((cgroup["max"] == 300 * MIB,
                       "500 MiB within 300: %d" % (cgroup["max"] // MIB)))
    return points


def test_in_a_namespace():
    """In a cgroup namespace, as containers have it, the group is found"""
    with Group(300 * MIB) as group:
        kind, options = {1: ("cgroup", ("-o", "memory")),
                         2: ("cgroup2", ())}[group.version]
        mount = memory_mount()[1]
        inside = ("unshare", "-C", "-m", "sh", "-c",
                  'umount "$0" && mount -t %s %s none "$0" && exec "$@"' %
                  (kind, " ".join(options)), mount)
        tried = run(*group.enter(*inside, "true"))
        if tried.returncode != 0:
            raise Skip("no namespace: %s" % tried.stderr.decode().strip())
        recording = os.path.join(chain.folder, "it.rec")
        result = run(*group.enter(*inside, chain.chain.residue, "run", "-o",
                                  recording, "sleep", "0.3"))
        same("exit status", result.returncode, 0)
        seen = run(*group.enter(*inside, "cat", "/proc/self/cgroup"))
    cgroup = stats(recording)["processes"][0]["cgroup"]
    same("limit", cgroup["max"], 300 * MIB)
    return [(b"residue-test" not in seen.stdout,
             "its name is not visible, its limit is")]


def test_moved():
    """A program that is moved is followed"""
    with Group(300 * MIB) as first, Group(350 * MIB) as second:
        with Live(chain.some_python().path, "-c",
                  "import os; print(os.getpid(), flush=True); os.read(0, 1)",
                  before=first.enter()) as live:
            pid = live.line()
            live.mark("first")
            second.write(pid, "cgroup.procs")
            live.mark("second")
            found = [stats(live.recording, one)["processes"][0]
                     for one in ("first", "second")]
            live.end()
    same("limits", [one["cgroup"]["max"] for one in found],
         [300 * MIB, 350 * MIB])
    same("with the collector at last",
         found[1]["collector"]["shares_cgroup"], False)


# ---- the collector --------------------------------------------------------

def test_the_collector_offers_itself():
    """The collector's score is 500 above its launcher's, 1000 at most"""
    points = []
    for inherited, expected in ((0, 500), (300, 800), (700, 1000),
                                (1000, 1000)):
        chain.fresh_folder()
        with Live("sleep", "30", before=(
                "sh", "-c", "echo %d > /proc/self/oom_score_adj; exec \"$@\"" %
                inherited, "sh")) as live:
            wait_for(lambda: collectors_of(live.process.pid) and "sleep" in
                     map(name_of, children_of(live.process.pid)), "both")
            score = score_of(collectors_of(live.process.pid)[0])
            others = [score_of(pid) for pid in children_of(live.process.pid)
                      if name_of(pid) == "sleep"]
        points.append((score == expected and others == [inherited],
                       "%d: the collector has %d, the program %r" %
                       (inherited, score, others)))
    return points


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as children:
        return [int(one) for one in children.read().split()]


def name_of(pid):
    with open("/proc/%d/comm" % pid) as comm:
        return comm.read().strip()


def collectors_of(pid):
    """Those that have begun to listen: their scores are set."""
    found = [one for one in children_of(pid) if name_of(one) == "residued"]
    return [one for one in found if any(
        "socket:" in os.readlink(link)
        for link in glob.glob("/proc/%d/fd/*" % one))]


def score_of(pid):
    with open("/proc/%d/oom_score_adj" % pid) as score:
        return int(score.read())


def test_everywhere():
    """Without a group of its own a program has its figures or null"""
    _, recording = record("sleep", "0.3")
    one, = stats(recording)["processes"]
    if one["cgroup"] is not None and one["cgroup"]["current"] == 0:
        raise AssertionError("unknown is 0: %r" % one["cgroup"])
    if one["collector"]["rss_bytes"] < MIB:
        raise AssertionError("the collector has %r" % one["collector"])
    text = run(chain.chain.residue, "stats", recording).stdout.decode()
    same("a line of the cgroup", "  cgroup: " in text,
         one["cgroup"] is not None)


if __name__ == "__main__":
    chain.main(globals())
