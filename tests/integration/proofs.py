"""Checks the proofs of v_pages against a process that is quiet.

A row says that of the bytes from `start` to `end`, among them some of the page,
n_bytes have a cause, and which thing at `address` proves it. Here that thing is
looked up in the process itself (foreign.py), by kind of proof:

    profiler     our library, its zeroed memory, our memfd, or the one page
                 that a fork wipes
    stack        [stack], or a thread's control block that names the range
    file         a page of a file's mapping, as the file has it
    image        a page of a private file mapping that was written to
    bss          zeroed memory, by the image's program headers
    shared       shared memory
    pool         a pool whose header adds up; the bytes of all its rows do, too
    arena        a page of an arena where no pool has a block in use
    stack_chunk  a chunk of a Python's data stack
    heap, chunk  a heap that walks; the bytes of the page, cause by cause
    mapping      anonymous memory that is neither heap nor stack
    block27      a block of ints or floats of a 2.7, slot by slot

and over all rows: the pages are those that are resident, none has more or less
than its bytes, and the sums by cause are the census' ledger.

    python3 tests/integration/proofs.py REC LABEL PID [SEED]
"""
import collections
import random
import struct
import sys

import chain
from foreign import IS_FILE, PAGE, Heaps, Process

Row = collections.namedtuple(
    "Row", "page cause proof address start end n_bytes")

POOL_HEADER = 48
LARGEST_BLOCK = 512
POOL_SIZES = (4096, 16384)
LARGEST_ARENA = 2 << 20

# The causes that a proof of each kind can have.
LIVE27 = ("python_live", "python_never_returned", "python_overhead")
CAUSES_OF = {
    "profiler": ("profiler",),
    "stack": ("stacks",),
    "file": ("file",),
    "image": ("image_private",),
    "bss": ("image_private",),
    "link_map": ("image_private",),
    "shared": ("shmem",),
    "pool": ("python_never_returned", "python_live", "python_holes",
             "python_free_pools", "python_overhead"),
    "arena": ("python_free_pools", "python_overhead"),
    "stack_chunk": ("python_overhead",),
    "heap": ("native_overhead", "native_free"),
    "chunk": ("python_large", "native_live", "native_overhead",
              "native_free"),
    "mapping": ("mapped_anon",),
    "block27": LIVE27,
    None: ("unexplained",),
}


class Wrong(Exception):
    """What a row says is not so."""


def need(condition, what, *values):
    if not condition:
        raise Wrong(what % values if values else what)


def read_rows(recording, label, process=1):
    """(the ledger, the rows of v_pages) of a mark's census of a process."""
    if not chain.rows(recording, "SELECT 1 FROM sqlite_master WHERE type = "
                      "'view' AND name = 'v_pages'"):
        raise AssertionError("the recording has no v_pages")
    census, = chain.rows(recording, "SELECT id FROM census WHERE label = '%s'"
                         " AND process = %d" % (label, process))[-1]
    ledger = {cause: n_bytes or 0 for cause, n_bytes in chain.rows(
        recording, "SELECT cause, bytes FROM v_ledger WHERE census = %d" %
        census)}
    return ledger, [Row(*row) for row in chain.rows(
        recording, "SELECT page, cause, proof, address, start, \"end\", "
        "n_bytes FROM v_pages WHERE census = %d" % census)]


# ---- one row ---------------------------------------------------------------

class Verifier:
    def __init__(self, process, rows):
        self.process = process
        self.rows = rows
        self._heaps = None
        self.by_page = collections.defaultdict(list)
        self.by_thing = collections.defaultdict(collections.Counter)
        for row in rows:
            self.add(row)

    def add(self, row, n=1):
        """n -1: takes it away."""
        if n == 1:
            self.by_page[row.page].append(row)
        else:
            self.by_page[row.page].remove(row)
        extents = self.by_thing[row.proof, row.address]
        extent = row.cause, row.start, row.end, row.n_bytes
        extents[extent] += n
        if extents[extent] == 0:
            del extents[extent]

    @property
    def heaps(self):
        if self._heaps is None:
            self._heaps = Heaps(self.process)
        return self._heaps

    def verify(self, row):
        """Raises Wrong."""
        need(row.cause in CAUSES_OF.get(row.proof, ()),
             "a proof %s of %s", row.proof, row.cause)
        need(row.start < row.page + PAGE and row.page < row.end,
             "the page %#x is not in [%#x, %#x)", row.page, row.start, row.end)
        need(0 < row.n_bytes <= row.end - row.start, "%d bytes in %d",
             row.n_bytes, row.end - row.start)
        state = self.process.states.get(row.page)
        need(state is not None, "the page %#x is not resident", row.page)
        one = self.process.map_at(row.page)
        need(one is not None, "nothing is mapped at %#x", row.page)
        if row.proof is not None:
            need(row.address is not None, "no address")
            getattr(self, "_" + row.proof)(row, one, state)

    def _profiler(self, row, one, _):
        bss = self.process.bss_at(row.page)
        names = (one.name, bss.name if bss else "")
        is_birthmark = (one.is_anonymous() and one.end - one.start == PAGE and
                        self.process.is_wiped_on_fork(one))
        need(is_birthmark or any("/libresidue-preload.so" in name or
                 name.startswith("/memfd:residue") for name in names),
             "%s is not the profiler's", one.name or "an anonymous mapping")

    def _stack(self, row, one, _):
        if one.name.startswith("[stack"):
            return
        words = self.process.words(row.address, 0x900 // 8)
        need(words[0] == row.address and words[2] == row.address,
             "no control block at %#x", row.address)
        need(self.process.is_anonymous(row.page, row.page + PAGE),
             "a stack in %s", one.name)
        # struct pthread has its stack's start and size side by side.
        need(any(start <= row.page + PAGE - 1 and row.page < start + size and
                 row.address < start + size <= row.address + (1 << 20)
                 for start, size in zip(words[0xc0:], words[0xc1:])),
             "the control block at %#x names no such stack", row.address)

    def _file(self, row, one, state):
        need(one.inode != 0 or one.name.startswith("[v"), "%s is no file",
             one.name or "an anonymous mapping")
        need(not one.is_shared_memory(), "%s is shared memory", one.name)
        need("s" in one.rights or one.inode == 0 or state & IS_FILE,
             "a page of %s that was written to", one.name)
        need(one.start <= row.address < one.end or row.address <= one.start,
             "another mapping")

    def _image(self, row, one, state):
        need("s" not in one.rights and (one.inode != 0 or
                                        one.name.startswith("[v")),
             "%s is no private file", one.name or "an anonymous mapping")
        need(not state & IS_FILE, "a page of %s as the file has it", one.name)
        need(one.start <= row.address < one.end or row.address <= one.start,
             "another mapping")

    def _bss(self, row, one, _):
        image = self.process.bss_at(row.page)
        need(image is not None, "no image zeroes %#x", row.page)
        need(one.is_anonymous(), "zeroed memory in %s", one.name)
        here = self.process.map_at(row.address)
        need(here is not None and (here is one or here.name == image.name),
             "%#x is not in %s", row.address, image.name)

    def _link_map(self, row, one, _):
        """A node of ld.so's list, in the page or pointing into it."""
        need(one.is_anonymous() and one.name != "[heap]", "%s is not anonymous",
             one.name)
        words = self.process.words(row.address, 141)
        after, before = words[3], words[4]
        need(after == 0 or self.process.words(after, 5)[4] == row.address,
             "the next of %#x does not lead back", row.address)
        need(before == 0 or self.process.words(before, 5)[3] == row.address,
             "the one before %#x does not lead to it", row.address)
        need(row.address // PAGE * PAGE <= row.page < row.address + 8 * 141 or
             any(word // PAGE * PAGE == row.page for word in words),
             "%#x says nothing of %#x", row.address, row.page)

    def _shared(self, row, one, _):
        need("s" in one.rights and one.is_shared_memory(),
             "%s is not shared memory", one.name or "an anonymous mapping")
        need(one.start <= row.address < one.end, "another mapping")

    def _mapping(self, row, one, _):
        need(one.is_anonymous() and one.name != "[heap]", "%s is not anonymous",
             one.name)
        need(row.address <= row.page + PAGE - 1 and
             self.process.is_anonymous(row.address // PAGE * PAGE, row.page),
             "no anonymous mapping from %#x on", row.address)
        need(self.process.bss_at(row.page) is None, "an image's memory")
        need(self.heaps.heap_at(row.page) is None, "a heap's memory")

    # ---- pymalloc ----------------------------------------------------------

    def _arena(self, row, one, _):
        need(one.is_anonymous(), "an arena in %s", one.name)
        need(row.address % PAGE == 0 and
             row.address <= row.page < row.address + LARGEST_ARENA,
             "%#x is no arena of %#x", row.address, row.page)
        for size in POOL_SIZES:
            pool = read_pool(self.process, row.page // size * size, size)
            need(pool is None or pool.n_used == 0,
                 "the pool at %#x has blocks in use", row.page // size * size)

    def _stack_chunk(self, row, one, _):
        before, size, top = self.process.words(row.address, 3)
        need(one.is_anonymous() and size % PAGE == 0 and size > 0 and
             top <= size // 8, "no chunk of a data stack at %#x", row.address)
        need(before == 0 or self.process.map_at(before) is not None,
             "the chunk before %#x is nowhere", row.address)
        need(row.address <= row.page < row.address + size,
             "%#x is not in it", row.page)

    def _pool(self, row, one, _):
        need(one.is_anonymous(), "a pool in %s", one.name)
        for size in POOL_SIZES:
            pool = read_pool(self.process, row.address, size)
            if pool is not None:
                break
        else:
            raise Wrong("no pool at %#x" % row.address)
        need(row.address <= row.page < row.address + pool.size and
             row.address <= row.start and row.end <= row.address + pool.size,
             "the pool at %#x has %d bytes", row.address, pool.size)
        self._check_sums_of_pool(row.address, pool)

    def _check_sums_of_pool(self, address, pool):
        """What all rows of a pool deal is what its header says."""
        dealt = collections.Counter()
        for cause, _, _, n_bytes in self.by_thing["pool", address]:
            dealt[cause] += n_bytes
        resident = self.process.resident_within(address, address + pool.size)
        in_blocks = self.process.resident_within(
            address + POOL_HEADER,
            address + POOL_HEADER + pool.n_blocks * pool.block)
        need(sum(dealt.values()) == resident, "the pool at %#x has %d resident "
             "bytes, %r are dealt", address, resident, dict(dealt))
        if pool.n_used == 0:
            need(dealt["python_live"] + dealt["python_never_returned"] +
                 dealt["python_holes"] == 0, "a free pool has %r", dict(dealt))
            return
        used = pool.n_used * pool.block
        need(dealt["python_live"] + dealt["python_never_returned"] == used,
             "%d bytes are used, %r dealt", used, dict(dealt))
        need(dealt["python_holes"] == in_blocks - used,
             "%d bytes of holes, %r dealt", in_blocks - used, dict(dealt))
        need(dealt["python_overhead"] == resident - in_blocks,
             "%d bytes of overhead, %r dealt", resident - in_blocks,
             dict(dealt))

    # ---- malloc ------------------------------------------------------------

    def _heap(self, row, one, _):
        need(one.is_anonymous(), "a heap in %s", one.name)
        heap = self.heaps.heap_at(row.page)
        need(heap is not None, "%#x is in no heap", row.page)
        need(heap.start == row.address or
             heap.chunks[heap.index_at(row.address + 8)] == row.address,
             "no heap begins at %#x", row.address)
        self._check_sums_of_page(row.page, heap)

    def _chunk(self, row, one, _):
        need(one.is_anonymous(), "a chunk in %s", one.name)
        heap = self.heaps.heap_at(row.address)
        if heap is None:
            self._mmapped(row)
            return
        index = heap.index_at(row.address + 8)
        need(index >= 0 and heap.chunks[index] == row.address,
             "no chunk begins at %#x", row.address)
        need(index < len(heap.used), "the heap ends at %#x", row.address)
        after = heap.chunks[index + 1]
        need(row.address <= row.page + PAGE and row.page < after + 8,
             "the chunk at %#x does not reach %#x", row.address, row.page)
        is_free = not heap.used[index] or (
            row.address + 16 in self.heaps.cached)
        need((row.cause == "native_free") == is_free,
             "the chunk at %#x is %s", row.address,
             "free" if is_free else "in use")
        self._check_sums_of_page(row.page, heap)

    def _mmapped(self, row):
        """A chunk that is a mapping: what is before it stands before it."""
        before, size = self.process.words(row.address, 2)
        start, end = row.address - before, row.address + (size & ~7)
        need(size & 7 == 2 and start % PAGE == 0 and end % PAGE == 0,
             "no mmapped chunk at %#x", row.address)
        need(start <= row.start and row.end <= end and
             self.process.is_anonymous(start, end),
             "the chunk at %#x is [%#x, %#x)", row.address, start, end)
        need(row.cause != "native_free", "a mmapped chunk is in use")
        block = row.address + 16
        head = self.process.resident_within(start, block)
        dealt = collections.Counter()
        for cause, _, _, n_bytes in self.by_thing["chunk", row.address]:
            dealt[cause] += n_bytes
        need(dealt["native_overhead"] == head and sum(dealt.values()) - head ==
             self.process.resident_within(block, end),
             "of [%#x, %#x) %r are dealt", start, end, dict(dealt))

    def _check_sums_of_page(self, page, heap):
        """What all rows of a heap's page deal is what its chunks are."""
        dealt = collections.Counter()
        for row in self.by_page[page]:
            if row.proof not in ("heap", "chunk", "block27"):
                return  # half of it is something else
            whole = row.n_bytes == row.end - row.start
            need(whole or (row.start >= page and row.end <= page + PAGE),
                 "%d of [%#x, %#x): how many on the page?", row.n_bytes,
                 row.start, row.end)
            dealt[row.cause] += min(row.end, page + PAGE) - max(
                row.start, page) if whole else row.n_bytes
        expected = self.heaps.bytes_of(heap, page, page + PAGE)
        if expected is None:
            return  # torn for us, too
        live, overhead, free = expected
        found = (sum(dealt[cause] for cause in
                     ("python_large", "native_live") + LIVE27),
                 dealt["native_overhead"], dealt["native_free"])
        need(found == (live, overhead, free), "the page %#x has (live, "
             "overhead, free) %r, dealt are %r", page, expected, dict(dealt))

    def _block27(self, row, one, _):
        need(one.is_anonymous(), "a block in %s", one.name)
        heap = self.heaps.heap_at(row.address)
        need(heap is not None, "%#x is in no heap", row.address)
        index = heap.index_at(row.address + 16)
        need(0 <= index < len(heap.used) and heap.used[index],
             "the block at %#x is not in use", row.address)
        block = heap.chunks[index] + 16
        words = self.process.words(block, 1000 // 8)
        need(words[0] == 0 or self.heaps.heap_at(words[0]) is not None,
             "the block at %#x leads nowhere", block)
        # Slots of (references, type or next free one, value); a slot that was
        # never taken has any references, and the types are static.
        live = {words[i + 1]: words[i] for i in range(1, 124, 3)
                if words[i + 1] and self.heaps.heap_at(words[i + 1]) is None}
        need(len(live) <= 1, "slots of %d types at %#x", len(live), block)
        need(all(live.values()), "an object without references at %#x", block)
        self._check_sums_of_page(row.page, heap)


Pool = collections.namedtuple("Pool", "size block n_used n_blocks")


def read_pool(process, address, size):
    """The pool of that size at an address, or None: there is none."""
    if address % PAGE:
        return None
    content = process.read(address, size)
    count, padding, free, _, _, _, index, following, last = struct.unpack_from(
        "<IIQQQIIII", content)
    for alignment in (16, 8):
        block = (index + 1) * alignment
        if block <= LARGEST_BLOCK and last == size - block:
            break
    else:
        return None
    carved, rest = divmod(following - POOL_HEADER, block)
    n_blocks = (size - POOL_HEADER) // block
    if rest or padding or not count <= carved <= n_blocks:
        return None
    seen = set()
    while free:
        at = free - address
        if at in seen or (at - POOL_HEADER) % block or not (
                POOL_HEADER <= at < following):
            return None
        seen.add(at)
        free, = struct.unpack_from("<Q", content, at)
    return Pool(size, block, count, n_blocks) if (
        count + len(seen) == carved) else None


# ---- all rows --------------------------------------------------------------

def check_ledger(rows, ledger):
    """Distinct extents, by cause, sum to what the census has."""
    sums = collections.Counter()
    for cause, n_bytes in {
            (row.cause, row.proof, row.address, row.start, row.end,
             row.n_bytes): (row.cause, row.n_bytes) for row in rows}.values():
        sums[cause] += n_bytes
    different = {cause: (sums[cause], ledger.get(cause, 0))
                 for cause in set(sums) | set(ledger)
                 if sums[cause] != ledger.get(cause, 0)}
    need(not different, "sums that are not the ledger's: %r", different)


def check_pages(rows, resident):
    """Every resident page is there, and no row of one is twice there."""
    pages = {row.page for row in rows}
    need(pages == resident, "%d pages are dealt that are not resident, %d are "
         "resident and not dealt", len(pages - resident),
         len(resident - pages))
    need(len(set(rows)) == len(rows), "%d rows are twice there",
         len(rows) - len(set(rows)))
    n_bytes = collections.Counter()
    unknown = set()
    for row in rows:
        if row.n_bytes == row.end - row.start:
            n_bytes[row.page] += min(row.end, row.page + PAGE) - max(
                row.start, row.page)
        elif row.start // PAGE == (row.end - 1) // PAGE:
            n_bytes[row.page] += row.n_bytes
        else:
            unknown.add(row.page)  # it shares its bytes with its neighbours
    wrong = [page for page in pages if n_bytes[page] > PAGE or (
        page not in unknown and n_bytes[page] != PAGE)]
    need(not wrong, "%d pages have not their bytes: %#x has %d", len(wrong),
         min(wrong, default=0), n_bytes[min(wrong, default=0)])


def complaints_of_all(rows, ledger, resident):
    """What is wrong with the rows together, a sentence each."""
    found = []
    for check, truth in ((check_ledger, ledger), (check_pages, resident)):
        try:
            check(rows, truth)
        except Wrong as error:
            found.append(str(error))
    return found


def complaints_of_pages(verifier, pages):
    """What is wrong with single rows of these pages, a sentence each."""
    found = []
    for page in pages:
        for row in verifier.by_page[page]:
            try:
                verifier.verify(row)
            except Wrong as error:
                found.append("%s of %#x by %s at %s: %s" % (
                    row.cause, row.page, row.proof,
                    hex(row.address or 0), error))
    return found


def sample_of(rows, seed, n_pages=1000):
    pages = sorted({row.page for row in rows})
    return random.Random(seed).sample(pages, min(n_pages, len(pages)))


# ---- mutations -------------------------------------------------------------

def mutations(rows, sample, seed):
    """(what, a row, the lie that it becomes)."""
    chance = random.Random(seed)
    of_kind = collections.defaultdict(list)
    wanted = set(sample)
    for row in rows:
        if row.page in wanted:
            of_kind[row.proof].append(row)
    for kind in sorted(of_kind, key=str):
        row = chance.choice(of_kind[kind])
        for what, lie in lies_about(rows, row, chance):
            yield "%s: %s" % (kind, what), row, lie


class Judgement:
    """How many lies there were, and what became of them."""

    def __init__(self):
        self.n_lies = 0
        self.n_by_proof = 0
        self.believed = []

    def hear(self, verifier, rows, ledger, lies):
        """The single row is looked at first: all of them take long."""
        for what, row, lie in lies:
            self.n_lies += 1
            verifier.add(row, -1)
            verifier.add(lie)
            if complaints_of_pages(verifier, [lie.page]):
                self.n_by_proof += 1
            else:
                at = rows.index(row)
                if not complaints_of_all(rows[:at] + [lie] + rows[at + 1:],
                                         ledger,
                                         verifier.process.resident_pages()):
                    self.believed.append(what)
            verifier.add(lie, -1)
            verifier.add(row)


def lies_about(rows, row, chance):
    others = [one for one in chance.sample(rows, min(len(rows), 2000))
              if one.proof != row.proof and one.cause != row.cause and
              one.proof is not None and one.page != row.page]
    if not others:
        return
    other = chance.choice(others)
    yield "the page of another", row._replace(page=other.page)
    yield "all the place of another", row._replace(
        page=other.page, start=other.start, end=other.end)
    yield "another's cause", row._replace(cause=other.cause)
    yield "another's proof and cause", row._replace(
        cause=other.cause, proof=other.proof, address=other.address)
    yield "unexplained", row._replace(
        cause="unexplained" if row.proof else other.cause, proof=None,
        address=None)
    yield "a byte more", row._replace(n_bytes=row.n_bytes + 1)


# ---- the command -----------------------------------------------------------

def main():
    recording, label, pid = sys.argv[1:4]
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    number = chain.rows(recording, "SELECT id FROM process WHERE pid = %s" %
                        int(pid))[0][0]
    ledger, rows = read_rows(recording, label, number)
    process = Process(int(pid))
    found = complaints_of_all(rows, ledger, process.resident_pages())
    found += complaints_of_pages(Verifier(process, rows),
                                 sample_of(rows, seed))
    print("\n".join(found) or "%d rows, no complaint" % len(rows))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
