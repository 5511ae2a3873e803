"""However a process is born, lives and ends, it notices nothing, and the blocks
it has alive are known one by one.

Each program of tests/targets does one thing; it is run bare, and at level exact
beside an oracle (oracle.py). What it prints and how it ends must be the same,
nothing may be lost, and of every process the live blocks are compared.
"""
import glob
import os
import re
import resource
import shutil

import chain
from chain import Skip, rows, run, same
from oracle import LOCKED, Collector, Lives, Oracle, again, check_lossless, \
    compare, losses

ORACLE = LOCKED  # test_targets takes the other one
CANNOT = 77  # a program may not do here what it is for
SPACE = 64 << 20  # bytes, of which the oracle needs half


def said(result):
    return result.stdout, result.stderr, result.returncode


def target(name, *arguments):
    return (chain.chain.target(name),) + arguments


def run_both(collector, command, **options):
    """Bare and traced, to the same end."""
    bare = run(*command, **options)
    if bare.returncode == CANNOT:
        raise Skip("the program may not do that here")
    for path in glob.glob(os.path.join(collector.folder, "*.shadow")):
        os.remove(path)  # some bring this oracle with them
    ours = collector.run(*command, **options)
    collector.end()
    same("output, error and status", said(ours), said(bare))


def followed_once(command, n_processes, options):
    with Collector(oracle=ORACLE) as collector:
        run_both(collector, command, **options)
        check_lossless(collector.recording())
        sentence = compare(collector.folder)
    same("processes", int(sentence.split()[0]), n_processes)
    return sentence


def points(cases, check=followed_once):
    """Each case is (what, command, number of processes, options of run)."""
    found = []
    for what, *case in cases:
        chain.fresh_folder()
        try:
            found.append((True, "%s: %s" % (what, again(check, *case))))
        except Skip as reason:
            found.append((True, "%s # SKIP %s" % (what, reason)))
        except AssertionError as error:
            found.append((False, "%s: %s" % (what, error)))
    return found


def limit(soft, hard, which=resource.RLIMIT_NOFILE):
    """Options of run."""
    return {"preexec_fn": lambda: resource.setrlimit(which, (soft, hard))}


# ---- births ----------------------------------------------------------------

def test_children():
    """A child has its parent's blocks and then its own, however it is born"""
    return points([
        ("fork", target("forks", "fork"), 2, {}),
        ("_Fork", target("forks", "_Fork"), 2, {}),
        ("a child of 40 threads that maps at once",
         target("forks", "crowd"), 2, {}),
        ("a child that forks, five times", target("forks", "again"), 5, {}),
        ("a daemon that forks twice", target("forks", "daemon"), 3, {}),
        ("vfork, on its parent's memory", target("forks", "vfork"), 1, {}),
        ("vfork and exec", target("forks", "vfork-exec"), 2, {}),
        ("vfork, and closes all", target("forks", "vfork-close"), 1, {}),
        ("posix_spawn, system, popen", target("spawns"), 4, {}),
        ("exec", ("sh", "-c", "exec \"$0\" return",
                  chain.chain.target("ends")), 1, {}),
    ])


def scrubbed_once(command):
    """The oracle's entry alone stands in the environment that is left."""
    with Collector() as collector:
        left = ("LD_PRELOAD=" + chain.chain.target("libshadow.so"),
                "SHADOW_DIR=" + collector.folder)
        run_both(collector, ("env", "-i") + left + command)
        check_lossless(collector.recording())
        exes = rows(collector.recording(), "SELECT exe FROM process")
        same("images", [exe for exe, in exes], [os.path.realpath(command[0])])
        return compare(collector.folder)


def unchanged_once(command):
    """Followed or not: what it is told is what it was given."""
    with Collector() as collector:
        run_both(collector, command)
        check_lossless(collector.recording())
        return "as bare"


def test_scrubbed_environments():
    """What is executed with another environment is followed, and sees it"""
    return points([
        ("all its blocks", target("ends", "return")),
        ("all its blocks, printed", ("/usr/bin/env",)),
    ], scrubbed_once) + points([
        ("none at all", ("env", "-i", "env")),
        ("one variable", ("env", "-i", "A=b", "env")),
        ("not our socket", ("env", "-u", "RESIDUE_SOCKET", "-u", "SHADOW_DIR",
                            "-u", "LD_PRELOAD", "sh", "-c", "env | sort")),
        ("two after another", ("env", "-i", "A=b", "env", "-i", "C=d", "sh",
                               "-c", "env -u PWD | sort")),
        ("clearenv", target("no_environment")),
    ], unchanged_once)


def lay_root(program):
    """A directory with the program and all that it is linked to."""
    root = os.path.join(chain.folder, "root")
    said_to_be = run("ldd", program).stdout.decode()
    for path in [program] + re.findall(r"(/\S+) \(0x", said_to_be):
        os.makedirs(root + os.path.dirname(path), exist_ok=True)
        shutil.copy(path, root + path)
    return root


def test_another_root():
    """Who has another root is not handed a library that is not there"""
    chain.need_root()
    with Collector() as collector:
        program = chain.chain.target("ends")
        command = (shutil.which("chroot"), lay_root(program), program,
                   "return")
        alone = collector.environment()
        alone["LD_PRELOAD"] = chain.chain.preload
        bare = run(*command)
        for one in (command, ("env", "-i") + command):
            same("output, error and status", said(run(*one, env=alone)),
                 said(bare))
        same("status", bare.returncode, 0)
        collector.end()


# ---- ends ------------------------------------------------------------------

ENDS = ("return", "exit", "_exit", "_Exit", "quick_exit", "abort", "kill",
        "segv", "group", "thread")


def test_ends():
    """Nothing is missing of what lived at the end, whatever that was"""
    return points([(how, target("ends", how), 1, {}) for how in ENDS] + [
        ("exit inside a constructor", target("early_exit"), 1, {}),
    ])


def test_exit_before_us():
    """Who exits before our constructor ran is not known, and ends as bare"""
    early = chain.chain.target("libearly.so")
    with Collector() as collector:
        bare = run("true", env=chain.clean_environment(LD_PRELOAD=early))
        ours = collector.run("true", env=collector.environment(early))
        collector.end()
        same("output, error and status", said(ours), said(bare))
        same("processes", rows(collector.recording(),
                               "SELECT count(*) FROM process")[0][0], 0)


# ---- threads ---------------------------------------------------------------

def test_threads():
    """Of threads nothing is missing, from their first to their last call"""
    return points([
        ("destructors of a thread", target("late", "1"), 1, {}),
        ("destructors of threads at once", target("late", "12"), 1, {}),
        ("64 KiB stacks", target("crowd", "30", "65536"), 1, {}),
        ("the smallest stacks", target("crowd", "30", "16384"), 1, {}),
        ("1,000 threads at once", target("crowd", "1000", "65536"), 1, {}),
        ("C11's threads", target("unnoted", "c11"), 1, {}),
        ("a child's first thread", target("unnoted", "child"), 2, {}),
        ("the same of a parent that had one", target("unnoted", "heir"), 2,
         {}),
    ])


# ---- signals ---------------------------------------------------------------

def test_handlers():
    """Of blocks of signal handlers nothing is missing between calls"""
    return points([
        ("handlers that allocate", target("handlers", "between"), 1, {}),
        ("on a stack of their own", target("handlers", "aside"), 1, {}),
        ("handlers that jump", target("handlers", "jump"), 1, {}),
    ])


def interrupted_once(command):
    """What a handler did inside a call of ours is lost, and counted."""
    with Collector() as collector:
        run_both(collector, command)
        n_lost, n_batches = losses(collector.recording())
        shadow, = [name for name in os.listdir(collector.folder)
                   if name.endswith(".shadow")]
        path = os.path.join(collector.folder, shadow)
        true = Oracle(path)
        ours = Lives(path.replace(".shadow", ".live"))
    same("lost batches", n_batches, 0)
    n_wrong = len(set(ours.blocks.items()) ^ set(true.blocks.items())) + \
        ours.orphans + ours.doubles
    if n_wrong > n_lost:
        raise AssertionError("%d wrong, but %d lost" % (n_wrong, n_lost))
    return "%d births, %d events lost" % (true.births, n_lost)


def test_handlers_within():
    """What a handler does within a call of ours is counted if it is lost"""
    return points([
        ("handlers that allocate", target("handlers", "within")),
        ("handlers that jump", target("handlers", "jump-within")),
    ], interrupted_once)


def forked_once(command):
    """The parent's stream is none of the child's, which ends as it does bare.
    """
    with Collector() as collector:
        run_both(collector, command)
        events, = rows(collector.recording(), "SELECT count(*) FROM event "
                       "WHERE kind = 'malformed'")[0]
        parent, = rows(collector.recording(),
                       "SELECT ns_pid FROM process WHERE id = 1")[0]
        path = os.path.join(collector.folder, "%d.shadow" % parent)
        n_lost, = rows(collector.recording(),
                       "SELECT lost_events FROM process WHERE id = 1")[0]
        true = Oracle(path)
        ours = Lives(path.replace(".shadow", ".live"))
    same("streams that made no sense", events, 0)
    n_wrong = len(set(ours.blocks.items()) ^ set(true.blocks.items()))
    if n_wrong > n_lost:
        raise AssertionError("%d wrong, but %d lost" % (n_wrong, n_lost))
    return "%d births, %d events lost" % (true.births, n_lost)


def test_forks_within():
    """A handler may fork within a call of ours, and the child go on with it"""
    return points([("handlers that fork", target("handlers", "fork-within"))],
                  forked_once)


def test_forks_amid():
    """So may one in the midst of malloc, at any level"""
    program = target("handlers", "fork-amid")
    bare = run(*program)
    for options in ((), ("--sample", "1K"), ("--exact",),
                    ("--native-stacks",)):
        ours = run(chain.chain.residue, "run", "-q", "-f", "-o", "it.rec",
                   *options, "--", *program)
        same("output and status (%s)" % " ".join(options), said(ours),
             said(bare))
        same("streams that made no sense (%s)" % " ".join(options),
             rows(os.path.join(chain.folder, "it.rec"), "SELECT count(*) "
                  "FROM event WHERE kind = 'malformed'"), [(0,)])


# ---- descriptors -----------------------------------------------------------

def stopped_once(command, options):
    """What is born before is known; what comes later is not, or is true."""
    with Collector() as collector:
        run_both(collector, command, **options)
        shadow, = [name for name in os.listdir(collector.folder)
                   if name.endswith(".shadow")]
        path = os.path.join(collector.folder, shadow)
        true = set(Oracle(path).blocks.items())
        ours = set(Lives(path.replace(".shadow", ".live")).blocks.items())
    before = {one for one in true if one[1] < 2000}
    if len(before) < 500 or not before <= ours:
        raise AssertionError("%d of %d are missing" % (len(before - ours),
                                                       len(before)))
    if not ours <= true:
        raise AssertionError("%d never lived" % len(ours - true))
    return "%d blocks from before, %d of %d later ones" % (
        len(before), len(ours) - len(before), len(true) - len(before))


def test_descriptors():
    """A target may do with all descriptors what it wants"""
    return points([
        ("closed below the limit", target("closing", "loop"), 1,
         limit(256, 1024)),
        ("covered below the limit", target("closing", "over"), 1,
         limit(256, 1024)),
        ("numbers under a limit of 64", target("limits", "files"), 1,
         limit(64, 1024)),
        ("numbers where 64 is all", target("limits", "files"), 1,
         limit(64, 64)),
    ]) + points([
        ("closed, ours too", target("closing", "range"), {}),
        ("closed, ours too, where 64 is all", target("closing", "loop"),
         limit(64, 64)),
        ("covered, ours too", target("closing", "over"), limit(1024, 1024)),
        ("covered, ours too, where 64 is all", target("closing", "over"),
         limit(64, 64)),
    ], stopped_once)


# ---- libraries and limits --------------------------------------------------

def deep_once(command):
    """Nobody sees what it allocates: only that it dies, and ours lives on."""
    with Collector() as collector:
        run_both(collector, command)
        check_lossless(collector.recording())
        shadow, = [name for name in os.listdir(collector.folder)
                   if name.endswith(".shadow")]
        true = Oracle(os.path.join(collector.folder, shadow))
        if true.unknown < 100:
            raise AssertionError("only %d orphans" % true.unknown)
        return "%s, %d orphans" % (compare(collector.folder), true.unknown)


def test_libraries():
    """Libraries that come and go take no block with them"""
    plug = chain.chain.target("libplug.so")
    return points([
        ("dlopen and dlclose", target("plugins", plug, "churn"), 1, {}),
    ]) + points([
        ("RTLD_DEEPBIND", target("plugins", plug, "deep")),
    ], deep_once)


def test_limits():
    """Where the kernel refuses, all that is known stays true"""
    return points([
        ("RLIMIT_AS from the start", target("ends", "return"), 1,
         limit(SPACE, SPACE, resource.RLIMIT_AS)),
        ("RLIMIT_AS: malloc and realloc fail", target("limits", "space"), 1,
         {}),
        ("RLIMIT_AS: no room for buffers", target("limits", "threads"), 1, {}),
        ("mlockall", target("limits", "locked"), 1, {}),
        ("a sandbox that kills", target("sandbox"), 1, {}),
    ])


# ---- a read-only root ------------------------------------------------------

READ_ONLY = """
mount --make-rprivate / && mount --bind "$0" /mnt &&
mount -t tmpfs -o ro none /tmp && mount -o remount,bind,ro / || exit 77
if touch /x /tmp/x 2>/dev/null; then exit 78; fi
exec env "$@"
"""


def test_read_only_root():
    """Under a read-only root without /tmp nothing is missing"""
    return points([("all its blocks",)], read_only_once)


def read_only_once():
    chain.need_root()
    paths = [chain.chain.target("ends"), chain.chain.target("libshadow.so"),
             chain.chain.preload]
    with Collector() as collector:
        for path in paths:
            shutil.copy(path, collector.folder)
        program, shadow, preload = ["/mnt/" + os.path.basename(path)
                                    for path in paths]
        inside = ("unshare", "-m", "sh", "-c", READ_ONLY, collector.folder)
        bare = run(*inside, program, "return", cwd="/")
        if bare.returncode == CANNOT or b"unshare" in bare.stderr:
            raise Skip("no mounts here: %s" % bare.stderr.decode().strip())
        ours = run(*inside, "LD_PRELOAD=%s %s" % (shadow, preload),
                   "RESIDUE_SOCKET=/mnt/s", "SHADOW_DIR=/mnt", program,
                   "return", cwd="/")
        collector.end()
        same("output, error and status", said(ours), said(bare))
        same("status", ours.returncode, 0)
        check_lossless(collector.recording())
        return compare(collector.folder)


if __name__ == "__main__":
    chain.main(globals())
