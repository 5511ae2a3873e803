"""A process that nobody prepared: read from outside, to the block."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import chain
import test_classes as classes
import test_ledger as ledger
import test_types as types
from chain import on_every_interpreter, run, same, wait_until_quiet

# A quiet moment, with threads asleep, before the statistics are told.
THREADED = """
import threading
gate = threading.Event()
for _ in range(3):
    one = threading.Thread(target=gate.wait)
    one.daemon = True
    one.start()
""" + classes.PROGRAM

# Rounds of births and deaths over a heap that stays as large as it is.
BUSY = """
import os, random, sys
random.seed(3)
kept = [bytes(bytearray(i %% 400 + 33)) for i in range(%d)]
os.write(1, ('%%d\\n' %% os.getpid()).encode())
while True:
    for i in range(0, len(kept), 97):
        at = random.randrange(len(kept))
        kept[at] = bytes(bytearray(len(kept[at])))
"""

BUSY_BLOCKS = 250000
BUSY_CENSUSES = 60
BUSY_MOST = 0.001  # of the blocks in use


class Bare:
    """A program that residue did not start; ended when we leave."""

    def __init__(self, *command, **options):
        options.setdefault("env", chain.clean_environment())
        self.error_path = os.path.join(chain.folder, "bare.err")
        with open(self.error_path, "wb") as error:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=error, cwd=chain.folder, **options)
        self.pid = self.process.pid

    def line(self):
        return self.process.stdout.readline().decode().rstrip("\n")

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def error(self):
        with open(self.error_path) as error:
            return error.read()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def inspect(pid, *more, **options):
    """`residue inspect --json`: (its only process, the recording)."""
    recording = options.pop("recording",
                            os.path.join(chain.folder, "inspect.rec"))
    result = run(chain.chain.residue, "inspect", "--json", "-f", "-o",
                 recording, *more, str(pid), **options)
    if result.returncode != 0:
        raise AssertionError("residue inspect: %s" % result.stderr.decode())
    return json.loads(result.stdout)["processes"][0], recording


def figures_of(process):
    """What test_classes compares."""
    by_size = {row["size"]: (row["pools"], row["used"], row["free"])
               for row in process["classes"]}
    return by_size, process["arenas"]["count"]


# ---- a quiet process -------------------------------------------------------

def check_classes(interpreter, *arguments, **options):
    with Bare(interpreter.path, "-c", THREADED, *arguments, **options) as bare:
        pid = int(bare.line())
        wait_until_quiet(pid)
        process, recording = inspect(pid)
        truth = (classes.parse_stats(bare.error())
                 if interpreter.is_at_least(3)
                 else classes.arenas_by_gdb(pid))
    found = classes.differences(figures_of(process), truth)
    if found:
        raise AssertionError("; ".join(found))
    if not classes.differences(figures_of(process),
                                    classes.mutated(truth)):
        raise AssertionError("a block added to the truth goes unnoticed")
    same("torn pools", process["census"]["torn"], 0)
    same("level", process["level"], "inspect")
    same("python", process["python"].rstrip("+"),
         ".".join(map(str, interpreter.version)))
    same("malloc's counters", set(process["malloc"].values()), {None})
    same("pinned after one look", process["arenas"]["pinned"], 0)
    ledger.check_identity(recording)
    return "%d classes, %d blocks in use, %d arenas, difference 0" % (
        len(truth[0]), sum(row[1] for row in truth[0].values()), truth[1])


def test_every_class_and_the_number_of_arenas():
    """Arenas found by content are the interpreter's own"""
    return on_every_interpreter(check_classes)


def check_types(interpreter):
    with Bare(interpreter.path, "-c", types.PROGRAM) as bare:
        moments = {}
        for moment in ("base", "built", "tracked"):
            said = bare.line()
            wait_until_quiet(bare.pid)
            process, _ = inspect(bare.pid)
            moments[moment] = {row["name"]: row["count"]
                               for row in process["types"]}
            if moment != "tracked":
                bare.say("")
    truth = json.loads(said)
    wrong = types.differences(moments, types.expected(interpreter),
                                   truth)
    if wrong:
        raise AssertionError("; ".join(wrong))
    return "all tracked types, difference 0"


def test_types_are_counted():
    """Objects by type are as many as there are"""
    return on_every_interpreter(check_types)


def test_with_debug_hooks():
    """PYTHONMALLOC=debug changes no class"""
    check_classes(chain.some_python(),
                  env=chain.clean_environment(PYTHONMALLOC="debug"))


def test_reading_leaves_no_trace():
    """RSS and page tables stay as they are, and it is never stopped"""
    with Bare(chain.some_python().path, "-c", THREADED) as bare:
        pid = int(bare.line())
        wait_until_quiet(pid)
        inspect(pid)
        before = ledger.smaps_rss(pid), ledger.vm_pte(pid)
        switches = switches_of(pid)
        for _ in range(5):
            process, _ = inspect(pid)
        same("RSS and VmPTE", (ledger.smaps_rss(pid),
                               ledger.vm_pte(pid)), before)
        same("context switches", switches_of(pid), switches)
        same("RSS as smaps_rollup has it", process["rss_bytes"], before[0])
        if not 4 * 4096 <= process["ledger"]["stacks"] < 1024 * 1024:
            raise AssertionError("%d bytes of stacks" %
                                 process["ledger"]["stacks"])


def switches_of(pid):
    """A stop and a start would add to them."""
    with open("/proc/%d/status" % pid) as status:
        return [line for line in status if "ctxt_switches" in line]


# ---- a busy process --------------------------------------------------------

def in_use(process):
    return sum(row["used"] for row in process["classes"])


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    chain.wait_for(lambda: open("/proc/%d/stat" % pid).read()
                   .rsplit(")", 1)[1].split()[0] == "T", "the stop")
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def in_use_when_stopped(pid):
    """A stop may land inside the allocator: then again."""
    for _ in range(10):
        with stopped(pid):
            process, _ = inspect(pid)
        if process["census"]["torn"] == 0:
            return in_use(process)
        time.sleep(0.01)
    raise AssertionError("every stop tears a pool")


def test_a_busy_process():
    """Censuses of a busy process are within 0.1 % of those of a stopped one"""
    worst = torn = 0
    with Bare(chain.some_python().path, "-c", BUSY % BUSY_BLOCKS) as bare:
        pid = int(bare.line())
        time.sleep(0.5)
        truth = in_use_when_stopped(pid)
        for _ in range(BUSY_CENSUSES):
            process, _ = inspect(pid)
            worst = max(worst, abs(in_use(process) - truth))
            torn += process["census"]["torn"]
        truth_after = in_use_when_stopped(pid)
    drift = abs(truth_after - truth)
    chain.print_comment("%d blocks, at worst %d off (%.4f %%), %d pools torn "
                        "in %d censuses, drift %d" %
                        (truth, worst, 100.0 * worst / truth, torn,
                         BUSY_CENSUSES, drift))
    if truth < BUSY_BLOCKS // 2 or worst > BUSY_MOST * truth:
        raise AssertionError("%d of %d blocks off" % (worst, truth))


# ---- again and again -------------------------------------------------------

# Fills arenas with floats and keeps one in so many.
PINNING = """
import os, signal
kept = [i * 0.5 for i in range(1500000)][::20000]
os.write(1, ('%d\\n' % os.getpid()).encode())
signal.pause()
"""


def finding(recording, name):
    verdict = json.loads(run(chain.chain.residue, "why", "--json",
                             recording).stdout)["verdict"]
    return next((one for one in verdict if one["id"] == name), None)


def test_one_look_does_not_tell_a_pin():
    """One look names who sits in low arenas, and a second one the pins"""
    with Bare(chain.some_python().path, "-c", PINNING) as bare:
        pid = int(bare.line())
        wait_until_quiet(pid)
        process, recording = inspect(pid)
        same("pinned", process["arenas"]["pinned"], 0)
        once = finding(recording, "arena-pinning")
        process, recording = inspect(pid, "--every", "200ms", "-n", "2")
        twice = finding(recording, "arena-pinning")
    same("owner", once["owner"], "float")
    same("confidence", once["confidence"], "low")
    if "--every" not in once["action"] or "filling" not in once["sentence"]:
        raise AssertionError("it does not say that it cannot tell: %r" % once)
    same("owner", twice["owner"], "float")
    if process["arenas"]["pinned"] < 20 or twice["confidence"] == "low":
        raise AssertionError("%r" % process["arenas"])
    for verb in ("stats", "why"):
        same(verb, run(chain.chain.residue, verb, recording).returncode, 0)
    page = os.path.join(chain.folder, "page.html")
    same("report", run(chain.chain.residue, "report", recording, "-o",
                       page).returncode, 0)
    levels = chain.rows(recording, "SELECT level, births FROM v_processes")
    same("level and births", levels, [("inspect", None)])


def test_a_line_a_census():
    """With --every each census is a line on standard output"""
    with Bare(chain.some_python().path, "-c", ledger.QUIET) as bare:
        result = run(chain.chain.residue, "inspect", "--every", "100ms", "-n",
                     "3", bare.line())
    same("exit status", result.returncode, 0)
    lines = result.stdout.decode().split("\n\n")[0].splitlines()
    same("lines", len([one for one in lines if "  RSS " in one]), 3)


def test_a_stack_that_the_program_supplies():
    """A stack that is a part of a mapping is that part and no more"""
    with Bare(chain.chain.target("own_stack")) as bare:
        same("it says", bare.line(), "ready")
        process, _ = inspect(bare.pid)
    if not 2 * 4096 <= process["ledger"]["stacks"] <= 1024 * 1024:
        raise AssertionError("%d bytes of stacks" % process["ledger"]["stacks"])
    if process["ledger"]["unexplained"] < 63 * 1024 * 1024:
        raise AssertionError("unexplained: %r" % process["ledger"])


def start_watching(pid, recording, **variables):
    process = subprocess.Popen(
        (chain.chain.residue, "inspect", "--every", "200ms", "-o", recording,
         str(pid)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=chain.clean_environment(**variables), cwd=chain.folder)
    for _ in range(3):
        if b"RSS" not in process.stdout.readline():
            raise AssertionError("no line a census: %r" %
                                 process.stderr.read())
    return process


def finish(process):
    output, _ = process.communicate(timeout=chain.TIMEOUT)
    same("exit status", process.returncode, 0)
    if b"ledger" not in output:
        raise AssertionError("no tables at the end: %r" % output)


def check_sealed(recording, least):
    same("sealed", chain.rows(recording, "SELECT value FROM meta "
                              "WHERE key = 'sealed'"), [(1,)])
    if not os.path.exists(recording) or os.path.exists(recording + "-wal"):
        raise AssertionError("it is not one file")
    n = ledger.check_identity(recording)
    if n < least:
        raise AssertionError("%d censuses" % n)


def test_until_it_is_interrupted():
    """Ctrl-C leaves a sealed recording, and a mark is in it"""
    recording = os.path.join(chain.folder, "every.rec")
    with Bare(chain.some_python().path, "-c", ledger.QUIET) as bare:
        pid = int(bare.line())
        # A collector that was killed knew this number, of a process before.
        entries = os.path.join(chain.folder, "residue")
        os.mkdir(entries, 0o700)
        os.symlink(os.path.join(chain.folder, "gone.rec"),
                   os.path.join(entries, "pid.%d" % pid))
        process = start_watching(pid, recording, XDG_RUNTIME_DIR=chain.folder)
        marked = run(chain.chain.residue, "mark", str(pid), "now",
                     env=chain.clean_environment(
                         XDG_RUNTIME_DIR=chain.folder))
        same("mark", (marked.returncode, marked.stderr), (0, b""))
        process.send_signal(signal.SIGINT)
        finish(process)
        same("it lives on", bare.process.poll(), None)
    check_sealed(recording, 4)
    same("the mark", len(chain.rows(
        recording, "SELECT id FROM census WHERE label = 'now'")), 1)


def test_until_its_end():
    """The end of the process is the end of its inspection"""
    recording = os.path.join(chain.folder, "every.rec")
    with Bare(chain.some_python().path, "-c", ledger.QUIET) as bare:
        process = start_watching(int(bare.line()), recording)
        bare.process.kill()
        bare.process.wait()
        finish(process)
    check_sealed(recording, 3)


def test_another_program_in_the_same_process():
    """An exec is another image of the process, and is read too"""
    program = ("import os, sys; sys.stdin.readline(); "
               "os.execv(sys.executable, [sys.executable, '-c', %r])" %
               ledger.QUIET)
    recording = os.path.join(chain.folder, "every.rec")
    with Bare(chain.some_python().path, "-c", program) as bare:
        process = start_watching(bare.pid, recording)
        bare.say("")
        bare.line()
        chain.wait_for(lambda: chain.rows(
            recording, "SELECT 1 FROM census WHERE image = 1 AND arenas > 1"),
            "a census of the second image")
        process.send_signal(signal.SIGINT)
        finish(process)


# ---- what is no target -----------------------------------------------------

def refusal(pid, words, before=(), **options):
    """Exit status 1, one line that says why; returns standard output."""
    result = run(*before, chain.chain.residue, "inspect", str(pid), **options)
    text = result.stderr.decode()
    same("exit status for %s (%s)" % (pid, text), result.returncode, 1)
    if text.count("\n") != 1 or not all(one in text for one in words):
        raise AssertionError("it says %r, wanted %r" % (text, words))
    same("files left", [one for one in os.listdir(chain.folder)
                        if one.endswith(".rec")], [])
    return result.stdout.decode()


def test_what_cannot_be_inspected():
    """What has no memory to read is told in one line"""
    ended = subprocess.Popen(("true",))
    chain.wait_for(lambda: open("/proc/%d/stat" % ended.pid).read()
                   .rsplit(")", 1)[1].split()[0] == "Z", "the end")
    refusal(ended.pid, ["has ended"])
    ended.wait()
    refusal(ended.pid, ["no process has pid"])
    with open("/proc/2/status") as status:
        if "kthreadd" in status.read():
            refusal(2, ["thread of the kernel"])
    for words in (["inspect"], ["inspect", "x"], ["inspect", "-n", "2", "1"],
                  ["inspect", "--every", "1ms", "1"]):
        same("usage", run(chain.chain.residue, *words).returncode, 2)


CHURN = """
import json, os, time
os.write(1, b'up\\n')
kept = []
while True:
    text = json.dumps([{'id': i, 'text': 'x' * (i * 7 % 3000),
                        'tags': [str(i), i * 0.5]} for i in range(300)])
    kept.append((json.loads(text), text[:len(kept) * 100]))
    if len(kept) > 60:
        del kept[::2]
"""


def check_explained(interpreter):
    """Two censuses, of it idle and of it busy; the worst of them."""
    worst = 0
    for program in "import os, time; os.write(1, b'up\\n'); time.sleep(60)", \
            CHURN:
        with subprocess.Popen((interpreter.path, "-c", program),
                              stdout=subprocess.PIPE,
                              env=chain.clean_environment()) as target:
            target.stdout.readline()
            time.sleep(1)
            process, _ = inspect(target.pid)
            target.kill()
        share = process["ledger"]["unexplained"] / process["rss_bytes"]
        worst = max(worst, share)
    if worst >= 0.01:
        raise AssertionError("%.2f %% unexplained" % (100 * worst))
    return "at most %.2f %% unexplained, idle and busy" % (100 * worst)


def test_an_interpreter_is_explained():
    """Of an unprepared interpreter under 1 % is unexplained"""
    return on_every_interpreter(check_explained)


def test_what_is_no_python():
    """Another program has the native view and not one arena"""
    other = shutil.which("node") or shutil.which("perl")
    script = ("setInterval(() => 0, 1000); console.log('ready')"
              if other.endswith("node") else "$| = 1; print \"ready\\n\"; sleep")
    with Bare(other, "-e", script) as bare:
        bare.line()
        process, recording = inspect(bare.pid)
    same("arenas", process["arenas"]["count"], 0)
    same("python", process["python"], None)
    ledger.check_identity(recording)


def test_a_process_of_another_user():
    """Without the right over it, it says which one, and what is left"""
    classes.need_root()
    with Bare(chain.some_python().path, "-c", ledger.QUIET) as bare, \
            classes.for_everybody() as environment:
        pid = int(bare.line())
        shutil.rmtree(os.path.join(chain.folder, "none"), ignore_errors=True)
        left = refusal(pid, ["belongs to user 0 (root)", "CAP_SYS_PTRACE"],
                       before=classes.NOBODY, env=environment)
    for word in ("RSS", "peak RSS", "threads"):
        if word not in left:
            raise AssertionError("%r is not told: %r" % (word, left))


def test_a_process_that_is_not_dumpable():
    """PR_SET_DUMPABLE 0 is named as the reason, and root reads it"""
    classes.need_root()
    hidden = ("import ctypes\nctypes.CDLL(None).prctl(4, 0)\n" +
              ledger.QUIET)
    with classes.for_everybody() as environment, \
            Bare(*classes.NOBODY + (chain.some_python().path, "-c",
                                         hidden), env=environment) as bare:
        pid = int(bare.line())
        refusal(pid, ["not dumpable", "CAP_SYS_PTRACE"],
                before=classes.NOBODY, env=environment)
        process, _ = inspect(pid)
        if process["arenas"]["count"] < 1:
            raise AssertionError("no arenas")


def test_a_process_of_the_same_user():
    """The same user needs no capability"""
    classes.need_root()
    with classes.for_everybody() as environment, \
            Bare(*classes.NOBODY + (chain.some_python().path, "-c",
                                         ledger.QUIET),
                 env=environment) as bare:
        pid = int(bare.line())
        result = run(*classes.NOBODY, chain.chain.residue, "inspect",
                     str(pid), env=environment)
        same(result.stderr.decode(), result.returncode, 0)


if __name__ == "__main__":
    chain.main(globals())
