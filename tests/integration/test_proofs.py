"""Each page outside of unexplained has a proof, and the proof is true.

1,000 pages of a mark's census are drawn at random (the seed is printed), and
what proves them is looked up in the process itself (proofs.py). And the looking
up is tested: on rows made by hand, whose truth the target tells, and by rows
that lie. For another seed, and for some of the programs:

    RESIDUE_SEED=7 RESIDUE_PROGRAMS=redis,postgres
"""
import contextlib
import json
import os
import signal
import struct
import time
import traceback

import chain
import programs
import proofs
from chain import Live, rows, same, wait_until_quiet
from foreign import IS_FILE, PAGE, Heaps, Process
from proofs import Row

SEED = int(os.environ.get("RESIDUE_SEED", "20"))
WANTED = os.environ.get("RESIDUE_PROGRAMS", "").split(",")
LOAD_SECONDS = 0.7


def look_at(recording, label, process_id, pid):
    """(what is wrong, what a true one says) of one process' proofs."""
    ledger, found = proofs.read_rows(recording, label, process_id)
    if not found:
        raise AssertionError("v_pages is empty")
    process = Process(pid)
    try:
        sample = proofs.sample_of(found, SEED)
        verifier = proofs.Verifier(process, found)
        said = proofs.complaints_of_all(found, ledger,
                                        process.resident_pages())
        said += proofs.complaints_of_pages(verifier, sample)
        judgement = proofs.Judgement()
        if not said:
            judgement.hear(verifier, found, ledger,
                           proofs.mutations(found, sample, SEED))
    finally:
        process.close()
    same("lies that were believed", judgement.believed, [])
    return said, "%d pages (seed %d), %d lies, by %s" % (
        len(sample), SEED, judgement.n_lies, ", ".join(
            sorted(str(kind) for kind in {row.proof for row in found})))


@contextlib.contextmanager
def frozen(live, pid):
    """Stops a process, so that nothing of it changes. Its parent may stop as
    well, if that is residue: as a shell's job would."""
    os.kill(pid, signal.SIGSTOP)
    try:
        chain.wait_for(lambda: state_of(pid) == "T", "the stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
        live.process.send_signal(signal.SIGCONT)


def state_of(pid):
    with open("/proc/%d/stat" % pid) as stat:
        return stat.read().rsplit(")", 1)[1].split()[0]


def check_process(live, process_id, pid):
    """A sentence, or an assertion."""
    label = "stopped %d" % process_id
    with frozen(live, pid):
        live.mark(label)
        wrong, right = look_at(live.recording, label, process_id, pid)
    for one in wrong[:10]:
        print("# " + one)
    if wrong:
        raise AssertionError("%d complaints of process %d: %s" % (
            len(wrong), process_id, wrong[0]))
    return "process %d: %s" % (process_id, right)


# ---- programs --------------------------------------------------------------

def look_at_all(driver, said):
    """Looks at every process of the driver, once it is quiet."""
    for process, pid in rows(driver.live.recording, "SELECT id, pid FROM "
                             "process WHERE end_us IS NULL"):
        try:
            wait_until_quiet(pid)
            said.append(check_process(driver.live, process, pid))
        except (FileNotFoundError, ProcessLookupError):
            if os.path.exists("/proc/%d" % pid):
                raise  # else it had nothing more to do


def look_at_compiler(driver, said):
    """It is never quiet: somewhere in the middle of it."""
    chain.wait_for(lambda: driver.live is not None, "the start")
    time.sleep(1.5)
    for process, pid in rows(driver.live.recording, "SELECT id, pid FROM "
                             "process WHERE exe LIKE '%/cc1' AND end_us IS "
                             "NULL"):
        said.append(check_process(driver.live, process, pid))


def points_of(driver):
    said = []
    reason = driver.why_not()
    if reason:
        return [(True, "%s # SKIP %s" % (driver.name, reason))]
    try:
        chain.fresh_folder()
        if isinstance(driver, programs.Compiler):
            programs.run_under_load(driver, LOAD_SECONDS, n_marks=0,
                                    meanwhile=lambda one: look_at_compiler(
                                        one, said))
        else:
            programs.run_under_load(driver, LOAD_SECONDS, n_marks=0,
                                    look=lambda one: look_at_all(one, said))
        same("processes looked at", len(said) > 0, True)
        return [(True, "%s, %s" % (driver.name, one)) for one in said]
    except Exception as error:
        if not isinstance(error, AssertionError):
            chain.print_comment(traceback.format_exc())
        return [(False, "%s: %s" % (driver.name, error))]


def points_of_all(drivers):
    points = []
    wanted = [one for one in drivers if any(name in one.name
                                            for name in WANTED)]
    for driver in wanted:
        points += points_of(driver)
    n_skipped = sum(" # SKIP " in sentence for _, sentence in points)
    print("# programs run %d, skipped %d: %s" % (
        len(wanted) - n_skipped, n_skipped,
        ", ".join(one.name for one in wanted)))
    points.append((len(points) >= len(wanted) and n_skipped <= len(wanted) / 2,
                   "of %d programs, run %d, skipped for a reason %d" % (
                       len(wanted), len(wanted) - n_skipped, n_skipped)))
    return points


def test_proofs_of_pythons():
    """A Python's pages are what they are said to be"""
    return points_of_all([programs.JsonPython(one)
                          for one in chain.interpreters()])


def test_proofs_of_programs():
    """A program's pages are what they are said to be"""
    return points_of_all(programs.drivers())


# ---- the verifier itself ---------------------------------------------------

# Tells where things are that it made, and touches nothing afterwards.
TARGET = r"""
import ctypes, json, mmap, os, sys, threading
libc = ctypes.CDLL(None)
for name in "malloc", "mmap", "pthread_self":
    getattr(libc, name).restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
told = {}
told["mapping"] = libc.mmap(None, ctypes.c_size_t(1 << 20), 3, 0x22, -1,
                            ctypes.c_long(0))
ctypes.memset(told["mapping"], 1, 1 << 20)
shared = mmap.mmap(-1, 1 << 18)
shared.write(b"s" * (1 << 18))
pads = [libc.malloc(60000) for _ in range(4)]
told["live"], told["free"] = pads[1], pads[2]
for one in pads:
    ctypes.memset(one, 2, 60000)
libc.free(pads[2])
told["mmapped"] = libc.malloc(1 << 20)
ctypes.memset(told["mmapped"], 3, 1 << 20)
kept = [[i] for i in range(50000)]
told["object"] = id(kept[20000])
started, finish = threading.Event(), threading.Event()
def run():
    told["thread"] = libc.pthread_self()
    told["of_thread"] = libc.malloc(1000)
    started.set()
    libc.read(0, ctypes.create_string_buffer(1), 1)
thread = threading.Thread(target=run)
thread.start()
started.wait()
os.write(1, (json.dumps(told) + "\n").encode())
thread.join()
"""


class ByHand:
    """Rows of v_pages for what the target told us of."""

    def __init__(self, process, told):
        self.process = process
        self.told = told
        self.rows = []

    def add(self, page, cause, proof, address, n_bytes=PAGE, start=None,
            end=None):
        self.rows.append(Row(page, cause, proof, address, start or page,
                             end or page + PAGE, n_bytes))

    def add_page_in(self, key, cause, proof, address):
        """A whole page that lies inside of what the key names."""
        page = (self.told[key] // PAGE + 2) * PAGE
        self.add(page, cause, proof, address)

    def add_first_resident(self, is_it, cause, proof):
        """The first page of all mappings that is of that sort."""
        for one in self.process.maps:
            for page in range(one.start, one.end, PAGE):
                state = self.process.states.get(page)
                if state is not None and is_it(one, state, page):
                    self.add(page, cause, proof, one.start)
                    return
        raise AssertionError("no page is " + proof)

    def add_pool(self):
        for size in proofs.POOL_SIZES:
            at = self.told["object"] // size * size
            pool = proofs.read_pool(self.process, at, size)
            if pool is not None:
                break
        count, = struct.unpack("<I", self.process.read(at, 4))
        used = count * pool.block
        in_blocks = pool.n_blocks * pool.block
        for cause, n_bytes in (("python_live", used),
                               ("python_holes", in_blocks - used),
                               ("python_overhead", size - in_blocks)):
            if n_bytes:
                self.add(at, cause, "pool", at, n_bytes, at, at + size)

    def add_heap_of_thread(self):
        start = self.told["of_thread"] // (64 << 20) * (64 << 20)
        live, overhead, free = Heaps(self.process).bytes_of(
            Heaps(self.process).heap_at(start), start, start + PAGE)
        for cause, n_bytes, proof in (("native_live", live, "chunk"),
                                      ("native_overhead", overhead, "heap"),
                                      ("native_free", free, "chunk")):
            if n_bytes and proof == "heap":
                self.add(start, cause, proof, start, n_bytes)
            elif n_bytes:
                self.add(start, cause, proof, self.first_chunk(
                    start, cause == "native_free"), n_bytes)

    def first_chunk(self, start, is_free):
        heaps = Heaps(self.process)
        heap = heaps.heap_at(start)
        for at, used in zip(heap.chunks, heap.used):
            if (not used or at + 16 in heaps.cached) == is_free:
                return at
        raise AssertionError("no such chunk")

    def make(self):
        told = self.told
        self.add_page_in("mapping", "mapped_anon", "mapping", told["mapping"])
        self.add_page_in("live", "native_live", "chunk", told["live"] - 16)
        self.add_page_in("free", "native_free", "chunk", told["free"] - 16)
        self.add_pool()
        self.add_heap_of_thread()
        self.add(told["thread"] // PAGE * PAGE, "stacks", "stack",
                 told["thread"])
        first = told["mmapped"] // PAGE * PAGE
        self.add(first, "native_overhead", "chunk", first, 16)
        end = first + (self.process.words(first, 2)[1] & ~7)
        self.add(first, "native_live", "chunk", first,
                 self.process.resident_within(first, end) - 16, first, end)
        is_private = lambda one: one.inode and "s" not in one.rights
        for is_it, cause, proof in (
                (lambda one, state, _: is_private(one) and state & IS_FILE,
                 "file", "file"),
                (lambda one, state, _: is_private(one) and
                 not state & IS_FILE and "residue" not in one.name,
                 "image_private", "image"),
                (lambda one, state, page: one.is_anonymous() and
                 self.process.bss_at(page) and "residue" not in
                 self.process.bss_at(page).name, "image_private", "bss"),
                (lambda one, *_: one.name == "[stack]", "stacks", "stack"),
                (lambda one, *_: one.name.startswith("/dev/zero"), "shmem",
                 "shared"),
                (lambda one, *_: "libresidue-preload.so" in one.name,
                 "profiler", "profiler"),
                (lambda one, *_: one.name.startswith("/memfd:residue"),
                 "profiler", "profiler")):
            self.add_first_resident(is_it, cause, proof)
        return self.rows


def test_rows_made_by_hand():
    """What is true is believed, and lies are not"""
    with Live(chain.some_python().path, "-c", TARGET) as live:
        told = json.loads(live.line())
        pid = int(live.stats("end")["pid"])
        wait_until_quiet(pid)
        process = Process(pid)
        made = ByHand(process, told).make()
        pages = [row.page for row in made]
        verifier = proofs.Verifier(process, made)
        said = proofs.complaints_of_pages(verifier, pages)
        ledger = {}
        for row in made:
            ledger[row.cause] = ledger.get(row.cause, 0) + row.n_bytes
        proofs.check_ledger(made, ledger)
        judgement = proofs.Judgement()
        for seed in range(10):
            judgement.hear(verifier, made, ledger,
                           proofs.mutations(made, pages, SEED + seed))
        process.close()
        live.say("")
        live.end()
    return [
        (not said, "%d true rows by %s: %s" % (
            len(made), ", ".join(sorted({row.proof for row in made})),
            said[:1] or "believed")),
        (judgement.n_lies > 300 and judgement.n_by_proof >
         0.8 * judgement.n_lies and not judgement.believed,
         "%d lies, %d of them noticed by the proof alone, believed: %r" % (
             judgement.n_lies, judgement.n_by_proof, judgement.believed))]


def test_resident_pages_are_rss():
    """What is resident is what smaps_rollup counts, after a look at it"""
    with Live(chain.some_python().path, "-c", TARGET) as live:
        live.line()
        pid = int(live.stats("end")["pid"])
        wait_until_quiet(pid)
        process = Process(pid)
        Heaps(process)
        n_pages = len(process.resident_pages())
        process.close()
        with open("/proc/%d/smaps_rollup" % pid) as rollup:
            rss = [int(line.split()[1]) for line in rollup
                   if line.startswith("Rss:")][0]
        live.say("")
        live.end()
    same("resident pages", n_pages * PAGE, rss * 1024)


if __name__ == "__main__":
    chain.main(globals())
