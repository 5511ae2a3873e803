"""What a program does that is faster than its collector, and what is lost.

The collector is stopped, so that the pipe is full whatever the machine does. An
oracle (tests/targets/shadow.c) counts what really happened: every birth and
every death either came or is counted as lost, each once.
"""
import contextlib
import os
import signal
import subprocess
import threading
import time

import chain
from chain import collector_of, rows, same, stats, wait_for
from oracle import Collector, Lives, Oracle, Unheard, check_lossless, compare

ROUNDS = "300000"  # of one thread: over twice what the pipe and memory hold


# ---- programs that can be held back ----------------------------------------

def state(pid):
    """As /proc has it: S sleeps, T is stopped."""
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state(pid) == "T", "a stop")


def go_on(pid):
    os.kill(pid, signal.SIGCONT)


class Late(AssertionError):
    """It waits for somebody, or the machine is busy with something else."""


class Target:
    """exchange, there and waiting for its go."""

    def __init__(self, *command, **options):
        self.process = subprocess.Popen(
            command + ("go",), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=chain.folder, **options)
        same("its first word", self.process.stdout.readline(), b"0\n")

    def go(self):
        self.process.stdin.write(b"x")
        self.process.stdin.flush()

    def is_running(self):
        return self.process.poll() is None

    def end(self, timeout=chain.TIMEOUT):
        """What it printed, and what it said on standard error."""
        try:
            output, error = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as late:
            raise Late("still running after %s s" % timeout) from late
        same("exit status (%r)" % error, self.process.returncode, 0)
        return output, error

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.is_running():
            self.process.kill()
        self.process.wait()


def below(collector, *command):
    """A target of this collector, with the oracle in it."""
    preload = "%s %s" % (chain.chain.target("libshadow.so"),
                         chain.chain.preload)
    return Target(*command, env=chain.clean_environment(
        LD_PRELOAD=preload, RESIDUE_SOCKET=collector.socket,
        SHADOW_DIR=collector.folder))


def exchange(collector, n_threads="0", n_rounds=ROUNDS):
    return below(collector, chain.chain.target("exchange"), n_threads,
                 n_rounds)


@contextlib.contextmanager
def held(collector):
    """The collector is stopped meanwhile."""
    stop(collector.process.pid)
    try:
        yield
        same("the collector's state", state(collector.process.pid), "T")
    finally:
        go_on(collector.process.pid)


def when_heard(scenario, *arguments):
    """A process waits a second to be welcomed: see oracle.follow."""
    for attempt in range(4):
        try:
            return scenario(*arguments)
        except (Unheard, Late) as error:
            print("# run %d, to be repeated: %s" % (attempt + 1, error))
            chain.fresh_folder()
    return scenario(*arguments)


# ---- every event came or is lost -------------------------------------------

apart = None


def events_apart():
    """Blocks from before the allocator is known, which are residue's own: what
    a program that is read in full has more than it tells."""
    global apart
    if apart is None:
        apart = when_heard(idle)
        chain.fresh_folder()
    return apart


def idle():
    with Collector() as collector:
        with exchange(collector, "0", "0") as target:
            target.go()
            target.end()
        collector.end()
        check_lossless(collector.recording())
        told, _, happened = told_lost_happened(collector, target.process.pid)
    if not 0 <= happened - told < 32:
        raise AssertionError("%d of %d were told" % (told, happened))
    return happened - told


def told_lost_happened(collector, pid):
    path = os.path.join(collector.folder, "%d.shadow" % pid)
    live = os.path.join(collector.folder, "%d.live" % pid)
    Lives(live)  # or nobody heard it
    with open(live) as file:
        told = int(file.read().split()[-1])
    true = Oracle(path)
    same("overflow, doubles, unknown", (true.overflow, true.doubles,
                                        true.unknown), (0, 0, 0))
    happened = 2 * true.births - len(true.blocks)
    lost, batches = rows(collector.recording(), "SELECT lost_events, "
                         "lost_batches FROM process ORDER BY id")[0]
    if told + lost < 100 < happened:
        raise Unheard("process %d told what came before it was welcomed" % pid)
    if (lost == 0) != (batches == 0):
        raise AssertionError("%d events in %d batches" % (lost, batches))
    return told, lost, happened


def add_up(collector, pid):
    """What came and what was lost are what happened; and a sentence."""
    told, lost, happened = told_lost_happened(collector, pid)
    same("events told and lost", told + lost, happened - apart)
    return told, lost, "%d births and deaths: %d told, %d lost" % (
        happened, told, lost)


def drop(n_threads, n_rounds):
    with Collector("--on-full=drop") as collector:
        with exchange(collector, n_threads, n_rounds) as target:
            with held(collector):
                target.go()
                target.end(timeout=8)  # it takes a second; a wait would be 10 s
            collector.end()
            told, lost, sentence = add_up(collector, target.process.pid)
    if lost < told:
        raise AssertionError("the pipe was never full: " + sentence)
    return sentence


def test_drop():
    """Where nobody reads a program ends all the same, and each loss counts"""
    events_apart()
    points = []
    for n_threads, n_rounds in (("0", ROUNDS), ("3", "300000"),
                                ("15", "120000")):
        chain.fresh_folder()
        points.append((True, "%s threads beside: %s" % (
            n_threads, when_heard(drop, n_threads, n_rounds))))
    return points


def drop_now_and_then(n_threads, n_rounds):
    """The memory is read while it is written over."""
    with Collector("--on-full=drop") as collector:
        with exchange(collector, n_threads, n_rounds) as target:
            over = threading.Event()

            def hinder():
                while not over.is_set():
                    with held(collector):
                        time.sleep(0.02)
                    time.sleep(0.01)
            hindrance = threading.Thread(target=hinder)
            hindrance.start()
            try:
                target.go()
                target.end()
            finally:
                over.set()
                hindrance.join()
            collector.end()
            told, lost, sentence = add_up(collector, target.process.pid)
    return sentence


def test_drop_now_and_then():
    """A collector that stops again and again counts each loss"""
    events_apart()
    points = []
    for n_threads, n_rounds in (("0", "1500000"), ("3", "200000"),
                                ("0", "1500000")):
        chain.fresh_folder()
        points.append((True, "%s threads beside: %s" % (
            n_threads, when_heard(drop_now_and_then, n_threads, n_rounds))))
    return points


FORK = """
import os
kept = [bytearray(600 + i % 50) for i in range(20000)]
def churn(n):
    for i in range(n):
        bytearray(700)
os.write(1, b'0\\n')
os.read(0, 1)
churn(150000)
child = os.fork()
if child == 0:
    more = [bytearray(900) for i in range(10)]
    os._exit(0)
churn(20000)
os.waitpid(child, 0)
os.write(1, b'%d\\n' % child)
os._exit(0)
"""


def lose_a_fork():
    """What the child has, as told and in truth."""
    with Collector("--on-full=drop") as collector:
        with below(collector, chain.some_python().path, "-c",
                   FORK) as target:
            with held(collector):
                target.go()
                child = int(target.end()[0])
            wait_for(lambda: rows(collector.recording(), "SELECT count(*) "
                                  "FROM process") == [(2,)], "a child")
            collector.end()
            told, lost, _ = told_lost_happened(collector, target.process.pid)
    if lost == 0:
        raise AssertionError("nothing was lost")
    ours = Lives(os.path.join(collector.folder, "%d.live" % child))
    true = Oracle(os.path.join(collector.folder, "%d.shadow" % child))
    return ours.blocks, true.blocks


def test_lost_fork():
    """A child whose fork was lost still has what its parent had"""
    ours, true = when_heard(lose_a_fork)
    n_same = len(set(ours.items()) & set(true.items()))
    if n_same < 19000:
        raise AssertionError("of %d blocks %d are known" % (len(true), n_same))
    return [(True, "of %d blocks %d are known" % (len(true), n_same))]


# ---- the program waits -----------------------------------------------------

def stand_still(n_threads, n_rounds):
    with Collector("--on-full=wait") as collector:
        with exchange(collector, n_threads, n_rounds) as target:
            with held(collector):
                target.go()
                time.sleep(1)
                stood = target.is_running()
            target.end()
            collector.end()
            add_up(collector, target.process.pid)
            same("whether it stood still", stood, True)
            check_lossless(collector.recording())
            return compare(collector.folder)


def test_wait():
    """Where nobody reads a program stands still, and nothing is lost"""
    events_apart()
    points = []
    for n_threads, n_rounds in (("0", ROUNDS), ("3", "100000")):
        chain.fresh_folder()
        points.append((True, "%s threads beside: %s" % (
            n_threads, when_heard(stand_still, n_threads, n_rounds))))
    return points


def wait_for_the_dead(n_threads):
    with Collector("--on-full=wait") as collector:
        with exchange(collector, n_threads) as target:
            stop(collector.process.pid)
            target.go()
            time.sleep(0.5)
            if not target.is_running():
                raise Unheard("it does not wait")
            collector.process.kill()
            collector.process.wait()
            return target.end(timeout=5)[0]  # what it may wait is 10 s


def test_killed_collector():
    """A program that waits for a collector goes on when that is killed"""
    for n_threads in ("0", "3"):
        chain.fresh_folder()
        bare = chain.run(chain.chain.target("exchange"), n_threads, ROUNDS,
                         "go", input=b"x").stdout[2:]
        same("output", when_heard(wait_for_the_dead, n_threads), bare)


# ---- residue run -----------------------------------------------------------


def run_held(*options):
    """`residue run --exact` whose collector is stopped for half a second."""
    recording = os.path.join(chain.folder, "it.rec")
    with Target(chain.chain.residue, "run", "--exact", "-f", "-o", recording,
                *options, "--", chain.chain.target("exchange"), "0", ROUNDS,
                env=chain.clean_environment()) as target:
        collector = collector_of(target.process.pid)
        stop(collector)
        target.go()
        time.sleep(0.5)
        go_on(collector)
        said = target.end()[1].decode()
    if stats(recording)["processes"][0]["malloc"]["allocs"] == 0:
        raise Unheard("it told nothing")
    return recording, said


def test_run_waits():
    """residue run waits if it is not told otherwise"""
    for options in ((), ("--on-full=wait",)):
        recording, said = when_heard(run_held, *options)
        check_lossless(recording)
        if "lost" in said:
            raise AssertionError(said)


def test_loss_is_said():
    """What was lost stands beside what it weakens, with every verb"""
    recording, said = when_heard(run_held, "--on-full=drop")
    events, batches = rows(recording, "SELECT lost_events, lost_batches FROM "
                           "process")[0]
    if events == 0:
        raise AssertionError("nothing was lost")
    same("loss of stats", stats(recording)["processes"][0]["loss"],
         {"events": events, "batches": batches})
    sentence = "{:,} events in {:,} batches were lost".format(events, batches)
    why = chain.run(chain.chain.residue, "why", recording).stdout.decode()
    text = chain.run(chain.chain.residue, "stats", recording).stdout.decode()
    json = chain.run(chain.chain.residue, "why", "--json", recording)
    same("three lines and a number", (
        said.count("\n"), sentence in said.splitlines()[0], sentence in why,
        sentence + ": births and deaths lack them" in text,
        '"loss":{"events":%d,"batches":%d}' % (events, batches) in
        json.stdout.decode().replace(" ", "").replace("\n", "")),
         (3, True, True, True, True))


def test_bad_word():
    """There are two words for it, and no third"""
    for command in ((chain.chain.residue, "run", "--on-full=block", "true"),
                    (chain.chain.residued, "--on-full=block")):
        result = chain.run(*command)
        same("exit status", result.returncode, 2)
        if b"it is wait or drop" not in result.stderr:
            raise AssertionError(result.stderr)


if __name__ == "__main__":
    chain.main(globals())
