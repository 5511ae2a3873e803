"""What looks like pools or heaps, and is not, is not called so.

Each target is run twice: with forged content, and with the same memory and no
such content. Both have to have the same ledger.
"""
import chain
from chain import Live, clean_environment, on_every_interpreter, rows, same
from test_ledger import CAUSES

KIB = 1024
MIB = 1024 * KIB
TOLERANCE = 128 * KIB  # of what two runs of one program differ by
MOST_OTHERS = 0.01  # of RSS, that may be unexplained beside what must be

# A Python that has pools where no arena is: in memory that a system call maps,
# and in a block that a native caller of malloc has. As forged.c prints.
FORGER = r"""
import ctypes, os, struct, sys
POOL = 16384 if sys.version_info >= (3, 10) else 4096
RAW, LARGE, SIZE = 16 << 20, 4 << 20, 64
libc = ctypes.CDLL(None)
libc.syscall.restype = ctypes.c_void_p
libc.malloc.restype = ctypes.c_void_p
def pool_at(address):
    carved = (POOL - 48) // SIZE // 2 & ~1
    body = bytearray(b"p" * POOL)
    for i in range(0, carved, 2):
        at = 48 + i * SIZE
        struct.pack_into("<Q", body, at, address + at + 2 * SIZE
                         if i + 2 < carved else 0)
    struct.pack_into("<QQQQIIII", body, 0, carved // 2, address + 48, address,
                     address, 0, SIZE // 16 - 1, 48 + carved * SIZE,
                     POOL - SIZE)
    return bytes(body)
def fill(start, size, is_forged):
    ctypes.memset(ctypes.c_void_p(start), 110, size)
    at = (start + POOL - 1) // POOL * POOL
    while is_forged and at + POOL <= start + size:
        ctypes.memmove(ctypes.c_void_p(at), pool_at(at), POOL)
        at += POOL
is_forged = sys.argv[1] == "pools"
raw = libc.syscall(ctypes.c_long(9), ctypes.c_long(1 << 41),
                   ctypes.c_long(RAW), ctypes.c_long(3), ctypes.c_long(0x22),
                   ctypes.c_long(-1), ctypes.c_long(0))
block = libc.malloc(ctypes.c_size_t(LARGE))
fill(raw, RAW, is_forged)
fill(block, LARGE, is_forged)
print("raw %#x %d" % (raw, RAW))
print("malloc %#x %d" % (block, LARGE))
print("ready")
sys.stdout.flush()
os.read(0, 1)
"""


class Run:
    """One run's ledger, and where the memory is that it tells of."""

    def __init__(self, *command):
        chain.fresh_folder()
        self.raw = []
        self.malloced = []
        with Live(*command, env=clean_environment(PYTHONHASHSEED="0")) as live:
            for line in iter(live.line, "ready"):
                what, address, n_bytes = line.split()
                (self.raw if what == "raw" else self.malloced).append(
                    (int(address, 16), int(n_bytes)))
            live.mark("forged")
            self.process = live.stats("forged")
            self.pages = pages_of(live.recording)
            same("exit status", live.end(), 0)
        self.ledger = {cause: self.process["ledger"][cause] or 0
                       for cause in CAUSES}
        same("sum", sum(self.ledger.values()), self.process["rss_bytes"])

    def causes_in(self, ranges):
        """The causes of the pages that lie in these ranges as a whole."""
        return {cause for page, cause in self.pages or []
                if any(start <= page and page + 4096 <= start + n_bytes
                       for start, n_bytes in ranges)}


def pages_of(recording):
    """(page, cause) of the mark, or None: this build has no v_pages."""
    if not rows(recording, "SELECT 1 FROM sqlite_master WHERE name = 'v_pages'"):
        return None
    return rows(recording, "SELECT page, cause FROM v_pages WHERE census = "
                "(SELECT id FROM census WHERE label = 'forged')")


def check_raw(run):
    """All of it, and little else, is unexplained."""
    raw_bytes = sum(n_bytes for _, n_bytes in run.raw)
    unexplained = run.ledger["unexplained"]
    if unexplained < raw_bytes:
        raise AssertionError("%d bytes are unexplained, %d nobody can know" %
                             (unexplained, raw_bytes))
    if unexplained - raw_bytes > MOST_OTHERS * run.process["rss_bytes"]:
        raise AssertionError("%d bytes more are unexplained than must be" %
                             (unexplained - raw_bytes))
    if run.pages is not None:
        same("causes of what a system call mapped", run.causes_in(run.raw),
             {"unexplained"})


def check_malloced(run):
    """Blocks of malloc are what malloc says, whatever is in them."""
    if run.process["ledger"]["native_live"] is None:
        raise AssertionError("native_live is not measured")
    malloced = sum(n_bytes for _, n_bytes in run.malloced)
    if run.ledger["native_live"] < malloced - len(run.malloced) * 4096:
        raise AssertionError("%d bytes are native_live of %d" % (
            run.ledger["native_live"], malloced))
    if run.pages is not None:
        more = run.causes_in(run.malloced) - {"native_live", "native_overhead"}
        same("causes of malloc's blocks that are not malloc's", more, set())


def check_same(forged, plain):
    # How much of a file the kernel maps around a fault differs by itself; and
    # chance says which blocks are sampled, whose stacks need memory of ours.
    different = {cause: (forged.ledger[cause], plain.ledger[cause])
                 for cause in CAUSES if cause not in ("file", "profiler") and
                 abs(forged.ledger[cause] - plain.ledger[cause]) > TOLERANCE}
    same("causes that differ (forged, plain)", different, {})


def points_of(name, forged, plain):
    points = []
    for what, check in (
            ("what a system call mapped is unexplained",
             lambda: check_raw(forged)),
            ("what malloc gave is native_live", lambda: check_malloced(forged)),
            ("content changes no cause", lambda: check_same(forged, plain))):
        try:
            check()
            points.append((True, "%s: %s" % (name, what)))
        except AssertionError as error:
            points.append((False, "%s: %s: %s" % (name, what, error)))
    return points


def test_forged_memory_of_a_native_program():
    """Forged pools and heaps are neither"""
    target = chain.chain.target("forged")
    plain = Run(target, "nothing")
    return (points_of("pools", Run(target, "pools"), plain) +
            points_of("a heap", Run(target, "heap"), plain))


def forged_in(interpreter):
    forged = Run(interpreter.path, "-c", FORGER, "pools")
    plain = Run(interpreter.path, "-c", FORGER, "nothing")
    failed = [sentence for passed, sentence in
              points_of("pools", forged, plain) if not passed]
    if failed:
        raise AssertionError("; ".join(failed))
    return "forged pools are none"


def test_forged_pools_in_python():
    """Pools where the interpreter has no arena are none"""
    return on_every_interpreter(
        forged_in, skip=lambda one: None if chain.run(
            one.path, "-c", "import ctypes").returncode == 0 else "no ctypes")


def test_a_mapping_made_before_us():
    """64 MiB mapped by a system call before our start are unexplained"""
    with Live(chain.chain.target("early_map")) as live:
        same("what it says", live.line(), "ready")
        live.mark("mapped")
        process = live.stats("mapped")
        same("exit status", live.end(), 0)
    unexplained = process["ledger"]["unexplained"]
    if not 64 * MIB <= unexplained < 65 * MIB:
        raise AssertionError("unexplained is %d" % unexplained)


if __name__ == "__main__":
    chain.main(globals())
