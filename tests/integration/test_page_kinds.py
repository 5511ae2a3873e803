"""Each kind of page has its rule: RSS is the kernel's, whatever it is made of.

What a kind is, tests/targets/page_kinds.c says. Some need a setting of the
machine; it is put back afterwards, and where it cannot be changed the test is
skipped and says so.
"""
import contextlib
import os
import signal
import sys
import time

import chain
from chain import Live, Skip, run, same
from test_ledger import CAUSES, MIB, check_identity, vm_pte

KIB = 1024
HUGE = 2 * MIB
SWAP_BYTES = 256 * MIB
SYS = "/sys/kernel/mm/"

# Pages out all its anonymous memory; what it then needs comes back by itself.
SWAPPED = """
import ctypes, os, signal, sys
kept = [[i, str(i), i * 0.5] for i in range(200000)]
del kept[::3]
libc = ctypes.CDLL(None)
libc.madvise.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
def pages():
    with open('/proc/self/maps') as maps:
        for line in maps.readlines():
            words = line.split()
            if words[1] == 'rw-p' and words[4] == '0':
                start, end = [int(word, 16) for word in words[0].split('-')]
                yield start, end - start
for start, size in list(pages()):
    libc.madvise(start, size, 21)
os.write(1, b'ready\\n')
signal.pause()
"""


# ---- the kernel's view -----------------------------------------------------

def rollup(pid):
    """smaps_rollup in bytes."""
    with open("/proc/%d/smaps_rollup" % pid) as text:
        lines = [line.split() for line in text.readlines()[1:]]
    return {line[0].rstrip(":"): int(line[1]) * KIB for line in lines}


def hugetlb_of(kernel):
    return kernel["Private_Hugetlb"] + kernel["Shared_Hugetlb"]


def trace_of(pid):
    """What a reading must not change: (smaps_rollup, page tables)."""
    kernel = rollup(pid)
    return {name: kernel[name] for name in
            ("Rss", "Swap", "AnonHugePages", "Private_Hugetlb",
             "Shared_Hugetlb", "Private_Dirty", "Private_Clean")}, vm_pte(pid)


# ---- settings of the machine -----------------------------------------------

@contextlib.contextmanager
def ended_gently():
    """A SIGTERM meanwhile runs what puts things back."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def write_setting(path, value):
    with open(path, "w") as setting:
        setting.write(value)


@contextlib.contextmanager
def settings(*changes):
    """Each (path, value) while we are inside; a function makes it of the old.
    """
    with contextlib.ExitStack() as undo:
        undo.enter_context(ended_gently())
        for path, value in changes:
            try:
                with open(path) as setting:
                    old = setting.read().strip()
                undo.callback(write_setting, path, old)
                write_setting(path, value(old) if callable(value) else value)
            except OSError as error:
                raise Skip("%s: %s" % (path, error.strerror))
        yield


def command(*words):
    result = run(*words)
    if result.returncode != 0:
        raise Skip("%s: %s" % (" ".join(words[:1]),
                               result.stderr.decode().strip()))


def swap_file(undo):
    path = os.path.join(chain.folder, "swap")
    with open(path, "wb") as out:
        os.chmod(path, 0o600)
        os.posix_fallocate(out.fileno(), 0, SWAP_BYTES)
    return path


def zram(undo):
    control = "/sys/class/zram-control/"
    try:
        with open(control + "hot_add") as added:
            number = int(added.read())
        undo.callback(write_setting, control + "hot_remove", str(number))
        write_setting("/sys/block/zram%d/disksize" % number, str(SWAP_BYTES))
    except OSError as error:
        raise Skip("zram: %s" % error.strerror)
    return "/dev/zram%d" % number


@contextlib.contextmanager
def swap_on(make):
    chain.need_root()
    with contextlib.ExitStack() as undo:
        undo.enter_context(ended_gently())
        device = make(undo)
        os.environ["PATH"] += ":/usr/sbin:/sbin"
        command("mkswap", device)
        command("swapon", device)
        undo.callback(run, "swapoff", device)
        yield


# ---- looking ---------------------------------------------------------------

class Kind:
    """The target, quiet, with pages of a kind; self.said is its number."""

    def __init__(self, *program):
        self.live = Live(*program)
        self.pid = None
        self.said = None
        self.n_marks = 0

    def __enter__(self):
        words = self.live.line().split(None, 1)
        if words[0] == "none":
            self.live.end()
            raise Skip("this machine has none: " + words[1])
        self.said = int(words[1]) if len(words) > 1 else None
        self.live.mark("begin")
        self.pid = self.live.stats("begin")["pid"]
        chain.wait_until_quiet(self.pid)
        return self

    def __exit__(self, *unused):
        self.live.__exit__()
        self.live.process.stdin.close()
        self.live.process.stdout.close()

    def look(self, pid=None):
        """(what a mark's census says, smaps_rollup) where the kernel says the
        same before and after it."""
        pid = pid or self.pid
        for _ in range(5):
            self.n_marks += 1
            label = "look %d" % self.n_marks
            before = trace_of(pid)
            self.live.mark(label, pid=pid)
            kernel = rollup(pid)
            after = trace_of(pid)
            if before == after:
                break
            time.sleep(0.2)
        same("after a census", after, before)
        process = next(one for one in
                       chain.stats(self.live.recording, label)["processes"]
                       if one["pid"] == pid)
        same("RSS as smaps_rollup has it", process["rss_bytes"], kernel["Rss"])
        same("sum", sum(process["ledger"][cause] or 0 for cause in CAUSES),
             process["rss_bytes"])
        same("skew", process["census"]["skew_bytes"], 0)
        same("hugetlb", process["hugetlb_bytes"], hugetlb_of(kernel))
        same("swap", process["swap_bytes"] > 0, kernel["Swap"] > 0)
        check_identity(self.live.recording)
        return process, kernel


def of_kind(name):
    return Kind(chain.chain.target("page_kinds"), name)


def at_least(what, ours, least):
    if ours < least:
        raise AssertionError("%s: %d, not even %d" % (what, ours, least))


# ---- huge pages ------------------------------------------------------------

def test_transparent_huge_pages():
    """Transparent huge pages are those of AnonHugePages"""
    with of_kind("transparent") as kind:
        process, kernel = kind.look()
        if kernel["AnonHugePages"] == 0:
            raise Skip("the kernel gives no transparent huge pages")
        same("anon_huge_bytes", process["anon_huge_bytes"],
             kernel["AnonHugePages"])
        at_least("native_live", process["ledger"]["native_live"], 16 * MIB)
        at_least("mapped_anon", process["ledger"]["mapped_anon"],
                 3 * HUGE - 8 * KIB)


def test_pages_of_the_pool_are_besides():
    """Pages of HugetlbPages are in no RSS, and told besides"""
    pool = settings(("/proc/sys/vm/nr_hugepages",
                     lambda old: str(int(old) + 8)))
    with pool, of_kind("hugetlb") as kind:
        process, kernel = kind.look()
        at_least("the pool's pages", process["hugetlb_bytes"], kind.said)
        same("none of them is AnonHugePages", process["anon_huge_bytes"],
             kernel["AnonHugePages"])
        at_least("the others", process["ledger"]["mapped_anon"], 8 * MIB)
        n, = chain.rows(kind.live.recording, "SELECT count(*) FROM proof "
                        "WHERE \"end\" - start > %d" % (9 * MIB))[0]
        same("no proof has them", n, 0)


# ---- swap ------------------------------------------------------------------

def native_swapped():
    with of_kind("swapped") as kind:
        process, kernel = kind.look()
        if kernel["Swap"] == 0:
            raise Skip("the kernel swaps nothing out")
        same("swap_bytes", process["swap_bytes"], kernel["Swap"])
        given_up, = chain.rows(kind.live.recording,
                               "SELECT is_torn FROM v_heaps "
                               "WHERE heap = 'main' ORDER BY census")[-1]
        same("the heap is given up", given_up, 1)
        at_least("its rest", process["ledger"]["unexplained"], 3 * MIB)


def python_swapped():
    with Kind(chain.some_python().path, "-c", SWAPPED) as kind:
        process, kernel = kind.look()
        if kernel["Swap"] == 0:
            raise Skip("the kernel swaps nothing out")
        same("swap_bytes", process["swap_bytes"], kernel["Swap"])
        at_least("of arenas", process["census"]["in_swap"], 4 * MIB)


def test_what_is_in_swap_is_not_read():
    """Pages in a swap file are in no RSS, and stay where they are"""
    with swap_on(swap_file):
        native_swapped()
        python_swapped()


def test_what_is_in_zram_is_not_read():
    """Pages in zram are in no RSS, and stay where they are"""
    with swap_on(zram):
        native_swapped()
        python_swapped()


# ---- pages that are shared, or nobody's ------------------------------------

def test_a_page_that_is_shared_after_fork():
    """A page shared after a fork is in the RSS of both"""
    with of_kind("forked") as kind:
        child = kind.said
        chain.wait_until_quiet(child)
        for pid in (kind.pid, child):
            process, _ = kind.look(pid)
            at_least("mapped_anon", process["ledger"]["mapped_anon"], 8 * MIB)
            at_least("native_live", process["ledger"]["native_live"], 16 * MIB)


def test_zeroes_that_were_only_read():
    """A page of zeroes that was only read is in no RSS"""
    with of_kind("zeroes") as kind:
        process, kernel = kind.look()
        if kernel["Rss"] > 8 * MIB:
            raise Skip("the kernel counts them: %r" % kernel)
        same("mapped_anon", process["ledger"]["mapped_anon"], 4 * KIB)


def test_pages_that_are_merged():
    """A page that KSM has merged is in RSS, its page of zeroes is not"""
    ksm = settings((SYS + "ksm/pages_to_scan", "20000"),
                   (SYS + "ksm/sleep_millisecs", "10"),
                   (SYS + "ksm/use_zero_pages", "1"),
                   (SYS + "ksm/run", "1"))
    with ksm, of_kind("mergeable") as kind:
        path = "/proc/%d/ksm_stat" % kind.pid
        if not os.path.exists(path):
            raise Skip("the kernel does not tell what it merges")
        chain.wait_for(lambda: ksm_of(path)["ksm_zero_pages"] >= 900 and
                       ksm_of(path)["ksm_rmap_items"] >= 900, "a merge")
        time.sleep(1)
        write_setting(SYS + "ksm/run", "0")
        process, _ = kind.look()
        zeroed = ksm_of(path)["ksm_zero_pages"] * 4 * KIB
        same("mapped_anon", process["ledger"]["mapped_anon"],
             kind.said - zeroed)


def ksm_of(path):
    with open(path) as text:
        words = [line.split() for line in text if len(line.split()) == 2]
    return {name: int(number) for name, number in words
            if number.isdigit()}


# ---- advice and rights -----------------------------------------------------

def test_memory_that_is_not_needed():
    """MADV_FREE leaves a page in RSS until it is taken, MADV_DONTNEED not"""
    with of_kind("advised") as kind:
        process, kernel = kind.look()
        at_least("LazyFree", kernel["LazyFree"], 3 * MIB)
        same("mapped_anon", process["ledger"]["mapped_anon"], 12 * MIB)
        live = process["ledger"]["native_live"]
        if not 12 * MIB <= live < 12.2 * MIB:
            raise AssertionError("native_live is %d" % live)


def test_memory_that_nobody_may_touch():
    """PROT_NONE takes nothing out of RSS, nor out of its cause"""
    with of_kind("forbidden") as kind:
        process, _ = kind.look()
        same("mapped_anon", process["ledger"]["mapped_anon"], 8 * MIB)
        at_least("native_live", process["ledger"]["native_live"], 16 * MIB)


def test_untouched_memory_stays_so():
    """What was never touched is not after ten censuses"""
    with of_kind("untouched") as kind:
        process, _ = kind.look()
        before = trace_of(kind.pid)
        for _ in range(10):
            kind.look()
        same("pages", trace_of(kind.pid), before)
        same("mapped_anon", process["ledger"]["mapped_anon"], 4 * KIB)
        same("heaps given up", chain.rows(
            kind.live.recording, "SELECT * FROM v_heaps WHERE is_torn"), [])


def test_much_memory_that_is_hardly_touched():
    """Of 2 GiB what was touched has a cause, and little more is read"""
    for words in (("blocks", "2048"), ("chunks", "2000"), ("mappings", "2000")):
        with Kind(chain.chain.target("sparse"), *words) as kind:
            process, kernel = kind.look()
        if process["ledger"]["unexplained"] * 100 > kernel["Rss"]:
            raise AssertionError("%s: %r" % (words[0], process["ledger"]))
        read, = chain.rows(kind.live.recording, "SELECT max(read_bytes) "
                           "FROM census WHERE label LIKE 'look%'")[0]
        if read > kernel["Rss"]:
            raise AssertionError("%s: %d bytes read of %d" % (
                words[0], read, kernel["Rss"]))


def test_pages_of_the_kernels():
    """A ring of the kernel's own is in the ledger just where it is in RSS"""
    with of_kind("device") as kind:
        kind.look()


if __name__ == "__main__":
    chain.main(globals())
