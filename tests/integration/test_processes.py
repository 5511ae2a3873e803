"""The process tree of a run: rows, forks, execs, ends and their censuses."""
import json
import os
import signal
import sqlite3
import subprocess
import time

import chain
from chain import Live, on_every_interpreter, record, rows, run, same, stats, \
    wait_for


def processes(recording):
    return stats(recording)["processes"]


def names(recording):
    return [os.path.basename(one["exe"]) for one in processes(recording)]


def test_one_process_one_row():
    """A program is one row, with its exit status"""
    result, recording = record("sh", "-c", "exit 3")
    found = processes(recording)
    same("rows", len(found), 1)
    same("exit", found[0]["exit"], 3)
    same("parent", found[0]["ppid"] > 0, True)
    same("sealed", stats(recording)["sealed"], True)
    same("files", sorted(os.listdir(chain.folder)), ["it.rec"])


def test_exec_keeps_its_row():
    """An exec keeps its process' row; the row is the new program's"""
    _, recording = record("sh", "-c", "exec env true")
    found = processes(recording)
    same("rows", [os.path.basename(one["exe"]) for one in found], ["true"])
    same("exit", found[0]["exit"], 0)


def test_children_are_rows():
    """Every child is a row, in order of start, the command first"""
    _, recording = record(chain.some_python().path, "-c",
                          "import subprocess, sys\n"
                          "for n in range(5):\n"
                          "    subprocess.call(['sh', '-c', 'exit %d' % n])\n")
    found = processes(recording)
    same("exits", [one["exit"] for one in found], [0, 0, 1, 2, 3, 4])
    same("ids", [one["id"] for one in found], list(range(1, 7)))


FORKER = """
import os, sys, time
kept = [[i, i * 0.5] for i in range(100000)]
print(os.getpid())
sys.stdout.flush()
os.read(0, 1)
child = os.fork()
if child == 0:
    bytearray(4096)  # until it asks malloc for something it is not known
    os.write(1, ('%d\\n' % os.getpid()).encode())
    os.read(0, 1)
    del kept[:]
    os.write(1, b'dropped\\n')
    os.read(0, 1)
    os._exit(5)
os.waitpid(child, 0)
"""


def forked(interpreter):
    """The child's arenas and objects are its parent's, then its own."""
    with Live(interpreter.path, "-c", FORKER) as live:
        live.line()
        live.mark("before")
        live.say("")
        live.line()
        live.mark("forked")
        live.say("")
        same("it says", live.line(), "dropped")
        live.mark("dropped")
        before = stats(live.recording, "before")["processes"][0]
        after = stats(live.recording, "forked")["processes"]
        dropped = stats(live.recording, "dropped")["processes"]
        live.say("")
        live.end()
    same("rows", len(after), 2)
    same("arenas of the child", after[1]["arenas"]["count"],
         after[0]["arenas"]["count"])
    lists = [{row["name"]: row["count"] for row in one["types"]}["list"]
             for one in (before, after[0], after[1], dropped[0], dropped[1])]
    if min(lists[:4]) < 100000 or lists[4] > 50000:
        raise AssertionError("lists: %r" % lists)
    same("sum of the child's causes",
         sum(value or 0 for value in after[1]["ledger"].values()),
         after[1]["rss_bytes"])
    same("exits", [one["exit"] for one in processes(live.recording)], [0, 5])
    return "%d arenas cloned" % after[1]["arenas"]["count"]


def test_a_fork_at_once():
    """A child has what its parent mapped a moment before the fork"""
    program = ("import os\n"
               "kept = [[i] for i in range(200000)]\n"
               "child = os.fork()\n"
               "bytearray(4096)\n"
               "if child == 0:\n"
               "    os.write(1, b'forked\\n'); os.read(0, 1); os._exit(0)\n"
               "os.waitpid(child, 0)\n")
    with Live(chain.some_python().path, "-c", program) as live:
        live.line()
        live.mark("forked")
        parent, child = stats(live.recording, "forked")["processes"]
        live.end()
    same("arenas", child["arenas"]["count"], parent["arenas"]["count"])
    if child["ledger"]["python_live"] < 200000 * 56:
        raise AssertionError("the child has %d live bytes" %
                             child["ledger"]["python_live"])


def test_an_end_that_was_an_exec():
    """The end of an image that was replaced is not that of its process"""
    program = ("import os, sys\n"
               "os.execv(sys.executable, [sys.executable, '-c',\n"
               "    'import os, time; kept = [[i] for i in range(200000)];'\n"
               "    'time.sleep(1.5); os.kill(os.getpid(), 9)'])\n")
    result, recording = record(chain.some_python().path, "-c", program)
    same("exit status", result.returncode, 137)
    one, = processes(recording)
    if one["census"]["kind"] == "end" or \
            one["ledger"]["python_live"] < 200000 * 56:
        raise AssertionError("%r: %r" % (one["census"], one["ledger"]))


def test_a_fork_clones():
    """A forked child has its parent's heap"""
    return on_every_interpreter(forked)


def test_a_daemon_outlives_the_run():
    """What outlives the command is recorded to its end; run does not wait"""
    program = ("import os, sys, time\n"
               "if os.fork() == 0:\n"
               "    os.setsid()\n"
               "    if os.fork() == 0:\n"
               "        for n in (0, 1, 2): os.close(n)\n"
               "        x = [str(i) for i in range(100000)]\n"
               "        time.sleep(6)\n"
               "        os._exit(0)\n"
               "    os._exit(0)\n"
               "os.wait()\n")
    recording = os.path.join(chain.folder, "d.rec")
    started = time.monotonic()
    result = run(chain.chain.residue, "run", "-o", recording,
                 chain.some_python().path, "-c", program)
    took = time.monotonic() - started
    same("exit status", result.returncode, 0)
    if took > 5:
        raise AssertionError("run took %.1f s" % took)
    if b"1 process lives on" not in result.stderr:
        raise AssertionError("it is not said: %r" % result.stderr)
    same("sealed", stats(recording)["sealed"], False)
    wait_for(lambda: stats(recording)["sealed"], "the seal")
    same("rows", len(processes(recording)), 3)


def test_a_pool_of_workers():
    """Workers of multiprocessing are rows with their own censuses"""
    program = ("import multiprocessing as m\n"
               "def work(n):\n"
               "    return len([str(i) for i in range(n)])\n"
               "if __name__ == '__main__':\n"
               "    for method in ('fork', 'spawn', 'forkserver'):\n"
               "        with m.get_context(method).Pool(3) as pool:\n"
               "            print(pool.map(work, [1000] * 10))\n"
               "            pool.close(); pool.join()\n")
    path = os.path.join(chain.folder, "pool.py")
    with open(path, "w") as out:
        out.write(program)
    bare = run(chain.some_python().path, path)
    result, recording = record(chain.some_python().path, path)
    same("output", (result.stdout, result.stderr, result.returncode),
         (bare.stdout, bare.stderr, bare.returncode))
    found = processes(recording)
    if len(found) < 10:
        raise AssertionError("only %d rows" % len(found))
    for one in found:
        same("lost events of %d" % one["id"], one["loss"]["events"], 0)


# ---- how a program ends ----------------------------------------------------

ENDS = [
    ("at its last line", "pass", 0),
    ("by sys.exit", "sys.exit(4)", 4),
    ("by an exception", "raise ValueError", 1),
    ("by os._exit", "os._exit(5)", 5),
    ("by exec", "os.execv('/bin/true', ['true'])", 0),
    ("without the collector of garbage", "gc.disable()", 0),
    ("with threads that still run", "t = threading.Thread(target=time.sleep, "
     "args=(30,)); t.daemon = True; t.start()", 0),
    ("in an atexit function", "atexit.register(lambda: None)", 0),
]
PATIENCE = 60  # seconds
ENDING = """
import atexit, gc, os, sys, threading, time
kept = [[i] for i in range(50000)]
%s
"""


def in_time(attempt, *arguments):
    """What an attempt finds of the census at a program's end.

    A process waits 30 ms for that census and no longer: on a busy machine it
    may come too late, or its types may. Then the attempt says so (Late), and
    is repeated, until the machine is less so.
    """
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        try:
            return attempt(*arguments)
        except Late:
            time.sleep(0.2)
    raise AssertionError("the census at the end was never whole")


class Late(Exception):
    """The census at the end was not there in time."""


def n_unread(recording):
    return rows(recording, "SELECT count(*) FROM event"
                " WHERE kind = 'end-unread'")[0][0]


def lists_at_end(interpreter, statement, status):
    """Lists in the census called end; None: there was none."""
    result, recording = record(interpreter.path, "-c", ENDING % statement)
    same("exit status", result.returncode, status)
    found = rows(recording, "SELECT c.has_types, t.count FROM census c LEFT"
                 " JOIN type t ON t.census = c.id AND t.name = 'list'"
                 " WHERE c.kind = 'end' ORDER BY c.id LIMIT 1")
    if found and found[0][0]:
        return found[0][1]
    if found or n_unread(recording):
        raise Late
    return None


def ends(interpreter):
    n_seen = 0
    for what, statement, status in ENDS:
        lists = in_time(lists_at_end, interpreter, statement, status)
        if "gc.disable" in statement and not interpreter.is_pyenv:
            # A static interpreter tells nobody, and late is not the end.
            same("lists %s" % what, lists, None)
            continue
        if lists is None or lists < 50000:
            raise AssertionError("%s: %s lists at the end" % (what, lists))
        n_seen += 1
    return "the heap is whole at the end in %d of %d ways" % (n_seen,
                                                              len(ENDS))


def test_the_end_is_before_the_heap_is_taken_apart():
    """The census called end sees the program's objects"""
    return on_every_interpreter(ends)


def kinds_of(command):
    _, recording = record(*command)
    kinds = [row[0] for row in rows(recording, "SELECT kind FROM census")]
    if "end" not in kinds and n_unread(recording):
        raise Late
    return kinds


def test_a_native_programs_end():
    """A native program has a census at its end, however it ends"""
    points = []
    for what, command in (("exit", ("sh", "-c", "exit 2")),
                          ("true", ("true",))):
        kinds = in_time(kinds_of, command)
        points.append(("end" in kinds, "%s: %r" % (what, kinds)))
    return points


def test_killed_programs_keep_their_last_census():
    """A program that is killed keeps its last census, and its age is told"""
    program = "kept = [[i] for i in range(50000)]\nimport time\ntime.sleep(60)"
    recording = os.path.join(chain.folder, "k.rec")
    process = subprocess.Popen(
        (chain.chain.residue, "run", "-q", "-o", recording,
         chain.some_python().path, "-c", program),
        env=chain.clean_environment())
    wait_for(lambda: os.path.exists(recording), "the recording")
    time.sleep(2.5)
    target = stats(recording)["processes"][0]["pid"]
    os.kill(target, signal.SIGKILL)
    same("exit status", process.wait(), 137)
    one = processes(recording)[0]
    same("exit", one["exit"], 137)
    if one["census"]["kind"] == "end" or one["census"]["age_us"] < 1000:
        raise AssertionError("census: %r" % one["census"])


# ---- collections -----------------------------------------------------------

COLLECTOR = """
import gc, json, os, sys
class Node(object):
    def __init__(self, parent):
        self.parent = parent
        self.children = [Node(self) for i in range(3)] if parent is None else []
for i in range(3000):
    Node(None)
gc.collect()
os.write(1, (json.dumps(gc.get_stats()) + '\\n').encode())
os.read(0, 1)
"""


def counts(generations):
    """Of gc.get_stats() or of ours; 3.15 tells more than these three."""
    return [{key: row[key] for key in ("collections", "collected",
                                       "uncollectable")}
            for row in generations]


def collections(interpreter):
    with Live(interpreter.path, "-c", COLLECTOR) as live:
        truth = counts(json.loads(live.line()))
        time.sleep(0.3)
        found = live.stats("end")["gc"]
        live.end()
    same("gc", counts(found), truth)
    return "%d collections, %d objects collected" % (
        sum(row["collections"] for row in truth),
        sum(row["collected"] for row in truth))


def test_collections_are_the_interpreters_own():
    """Collections are counted as gc.get_stats() counts them"""
    return on_every_interpreter(
        collections, skip=lambda one: None if one.is_at_least(3) else
        "2.7 has neither callbacks nor statistics")


# ---- a collector by itself -------------------------------------------------

def test_a_collector_by_itself():
    """residued records whatever is started with the preload, until told"""
    path = os.path.join(chain.folder, "socket")
    collector = subprocess.Popen(
        (chain.chain.residued, "--socket", path, "--output", chain.folder),
        stdout=subprocess.PIPE)
    collector.stdout.readline()
    environment = chain.clean_environment(LD_PRELOAD=chain.chain.preload,
                                          RESIDUE_SOCKET=path)
    for n in range(3):
        run(chain.some_python().path, "-c", "import sys; sys.exit(%d)" % n,
            env=environment)
    second = run(chain.chain.residued, "--socket", path)
    same("a second collector", second.returncode, 1)
    if b"another collector serves it" not in second.stderr:
        raise AssertionError("%r" % second.stderr)
    collector.terminate()
    same("exit status", collector.wait(20), 0)
    recording = os.path.join(chain.folder, "residue.%d.rec" % collector.pid)
    same("exits", [one["exit"] for one in processes(recording)], [0, 1, 2])
    same("socket", os.path.exists(path), False)


def test_our_own_programs_are_no_targets():
    """residue is not traced, though it inherits the preload"""
    _, recording = record("sh", "-c", "'%s' --version; true" %
                          chain.chain.residue)
    same("rows", names(recording), ["dash"])


def test_a_mark_by_pid():
    """A pid names its recording"""
    with Live("cat") as live:
        pid = stats_when_there(live)["pid"]
        live.mark("by pid", pid=pid)
        same("kind", live.stats("by pid")["census"]["kind"], "mark")
        result = run(chain.chain.residue, "why", str(pid))
        same("why PID", result.returncode, 0)
        live.end()


def stats_when_there(live):
    def there():
        try:
            return bool(processes(live.recording))
        except (AssertionError, sqlite3.Error):
            return False
    wait_for(there, "the first row")
    return processes(live.recording)[0]


if __name__ == "__main__":
    chain.main(globals())
