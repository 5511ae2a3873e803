"""A process as the kernel shows it, and malloc's heaps as their bytes do.

For checking what the collector says: nothing here knows its code, only
/proc/PID, ELF, and glibc's layouts on x86-64 (2.30 and later).
"""
import bisect
import ctypes
import fcntl
import os
import struct

PAGE = 4096
HEAP_MAX = 64 << 20
PRESENT, IS_FILE = 1 << 63, 1 << 61  # bits of pagemap
PAGES_AT_ONCE = 1 << 16
PAGEMAP_SCAN = 0xc0606610  # _IOWR('f', 16, struct pm_scan_arg), Linux 6.7
PAGE_IS_PFNZERO = 1 << 5
REGIONS = 500  # above 512 the kernel may give the last ones twice

LEAST_CHUNK = 32
STATE_BYTES = 2200  # of struct malloc_state
TOP_AT = 96
FASTBINS = range(16, 96, 8)
TCACHE_CHUNKS = (0x290, 0x2a0)  # 16 more where a rest would be too small


class Map:
    def __init__(self, line):
        fields = line.split(None, 5)
        self.start, self.end = (int(one, 16) for one in fields[0].split("-"))
        self.rights = fields[1]
        self.offset = int(fields[2], 16)
        self.inode = int(fields[4])
        self.name = fields[5].rstrip("\n") if len(fields) > 5 else ""

    def is_anonymous(self):
        return self.inode == 0 and (self.name in ("", "[heap]") or
                                    self.name.startswith("[anon"))

    def is_shared_memory(self):
        """Whose pages are nobody's file."""
        return "s" in self.rights and self.name.startswith(
            ("/dev/zero", "/SYSV", "/memfd:", "/dev/shm/"))


class Process:
    """Read as it is now; it had better be quiet.

    Only what is resident is read: to read more would make it so.
    """

    def __init__(self, pid):
        self.pid = pid
        with open("/proc/%d/maps" % pid) as maps:
            self.maps = [Map(line) for line in maps]
        self.starts = [one.start for one in self.maps]
        self.memory = os.open("/proc/%d/mem" % pid, os.O_RDONLY)
        self.states = self._read_states()
        self._segments = {}
        self._wiped = None

    def _read_states(self):
        """What pagemap has of each page that is resident."""
        states = {}
        pagemap = os.open("/proc/%d/pagemap" % self.pid, os.O_RDONLY)
        for one in self.maps:
            # The kernel's own pages of time are in nobody's RSS.
            if one.name in ("[vsyscall]", "[vvar]", "[vvar_vclock]"):
                continue
            for start in range(one.start, one.end, PAGES_AT_ONCE * PAGE):
                n_pages = min(PAGES_AT_ONCE, (one.end - start) // PAGE)
                content = os.pread(pagemap, 8 * n_pages, start // PAGE * 8)
                if content.count(0) == len(content):
                    continue
                for i, state in enumerate(struct.unpack(
                        "<%dQ" % (len(content) // 8), content)):
                    if state & PRESENT:
                        states[start + i * PAGE] = state
        for page in self._zero_pages(pagemap):
            states.pop(page, None)
        os.close(pagemap)
        return states

    def _zero_pages(self, pagemap):
        """What was only read and never written is in nobody's RSS. A kernel
        before 6.7 tells nobody which pages these are."""
        regions = (ctypes.c_uint64 * (3 * REGIONS))()
        for one in self.maps:
            start = one.start
            while start < one.end and "p" in one.rights:
                # size, flags, start, end, walk_end, vec, vec_len, max_pages,
                # inverted, mask, any of, return
                scan = bytearray(struct.pack(
                    "<12Q", 96, 0, start, one.end, 0,
                    ctypes.addressof(regions), REGIONS, 0, 0, PAGE_IS_PFNZERO,
                    0, PAGE_IS_PFNZERO))
                try:
                    n_regions = fcntl.ioctl(pagemap, PAGEMAP_SCAN, scan)
                except OSError:
                    return
                for i in range(n_regions):
                    yield from range(regions[3 * i], regions[3 * i + 1], PAGE)
                start, = struct.unpack_from("<Q", scan, 32)

    def close(self):
        os.close(self.memory)

    def map_at(self, address):
        at = bisect.bisect(self.starts, address) - 1
        if at >= 0 and address < self.maps[at].end:
            return self.maps[at]
        return None

    def is_anonymous(self, start, end):
        """Whether all of it is, though it may be more than one mapping."""
        while start < end:
            one = self.map_at(start)
            if one is None or not one.is_anonymous():
                return False
            start = one.end
        return True

    def read(self, address, n_bytes):
        """What is not resident reads as zeroes."""
        end = address + n_bytes
        parts = []
        while address < end:
            after = min(end, address // PAGE * PAGE + PAGE)
            is_resident = address // PAGE * PAGE in self.states
            while after < end and (after in self.states) == is_resident:
                after = min(end, after + PAGE)
            content = b""
            if is_resident:
                try:
                    content = os.pread(self.memory, after - address, address)
                except (OSError, OverflowError):
                    pass
            parts.append(content.ljust(after - address, b"\0"))
            address = after
        return b"".join(parts)

    def words(self, address, n_words):
        return struct.unpack("<%dQ" % n_words, self.read(address, 8 * n_words))

    def resident_pages(self):
        return set(self.states)

    def resident_within(self, start, end):
        """Bytes of [start, end) on pages that are resident."""
        return sum(min(end, page + PAGE) - max(start, page)
                   for page in range(start // PAGE * PAGE, end, PAGE)
                   if page in self.states)

    def is_wiped_on_fork(self, one):
        """Whether madvise was told so of a mapping."""
        if self._wiped is None:
            self._wiped = set()
            with open("/proc/%d/smaps" % self.pid) as smaps:
                for line in smaps:
                    words = line.split()
                    if not words[0].endswith(":"):
                        start = int(words[0].split("-")[0], 16)
                    elif words[0] == "VmFlags:" and "wf" in words:
                        self._wiped.add(start)
        return one.start in self._wiped

    # ---- images ------------------------------------------------------------

    def segments(self, image):
        """(start, end of its file's bytes, end) of each in memory."""
        if image.start not in self._segments:
            self._segments[image.start] = list(self._read_segments(image))
        return self._segments[image.start]

    def _read_segments(self, image):
        try:
            with open("/proc/%d/root%s" % (self.pid, image.name),
                      "rb") as file:
                head = file.read(PAGE)
        except OSError:
            head = self.read(image.start, PAGE)  # it was deleted
        if head[:5] != b"\x7fELF\x02":
            return
        at, = struct.unpack_from("<Q", head, 32)
        size, number = struct.unpack_from("<HH", head, 54)
        loads = []
        for i in range(number):
            kind, _, _, address, _, in_file, in_memory = struct.unpack_from(
                "<IIQQQQQ", head, at + i * size)
            if kind == 1:
                loads.append((address, in_file, in_memory))
        lowest = min(loads)[0] // PAGE * PAGE
        for address, in_file, in_memory in loads:
            start = image.start - lowest + address
            yield start, start + in_file, start + in_memory

    def bss_at(self, page):
        """The image whose zeroed memory has the page, or None."""
        for image in self.maps:
            if image.inode == 0 or image.offset != 0 or "s" in image.rights:
                continue
            for _, end_of_file, end in self.segments(image):
                if (end_of_file + PAGE - 1) // PAGE * PAGE <= page < end:
                    return image
        return None


# ---- malloc ------------------------------------------------------------------

class Heap:
    """One heap, chunk by chunk: a list of where each begins."""

    def __init__(self, start, first, end, state):
        self.start = start
        self.first = first
        self.end = end
        self.state = state
        self.chunks = []  # addresses, then the end of the last one
        self.used = []  # whether each is in use, as its neighbour has it
        self.top = 0
        self.is_whole = False

    def walk(self, process):
        content = process.read(self.start, self.end - self.start)
        at = self.first
        while at + 16 <= self.start + len(content):
            size, = struct.unpack_from("<Q", content, at - self.start + 8)
            size &= ~7
            after = at + size
            if size < LEAST_CHUNK or size % 16 or after > self.end:
                self.is_whole = size == 16 or size == 0  # fences
                break
            self.chunks.append(at)
            if after + 16 > self.end:
                self.top = at
                self.used.append(False)
                self.is_whole = True
                at = after
                break
            self.used.append(bool(content[after - self.start + 8] & 1))
            at = after
        self.chunks.append(at)

    def index_at(self, address):
        """Of the chunk that has the byte, counted from size word to size
        word; -1: it lies before the first."""
        return bisect.bisect(self.chunks, address - 8) - 1


class Heaps:
    """All that a process has, and which of their chunks are only cached."""

    def __init__(self, process):
        self.process = process
        self.heaps = []
        self.cached = set()  # blocks
        self._find_main()
        self._find_others()
        for one in self.heaps:
            one.walk(process)
        self._find_caches()

    def heap_at(self, address):
        for one in self.heaps:
            if one.start <= address < one.end:
                return one
        return None

    def _find_main(self):
        """From the first mapping called [heap] to the end of the last."""
        parts = [one for one in self.process.maps if one.name == "[heap]"]
        if parts:
            self.heaps.append(Heap(parts[0].start, (parts[0].start + 15) & ~15,
                                   parts[-1].end, 0))

    def _find_others(self):
        """heap_info at a multiple of 64 MiB: arena, previous, size, room."""
        for one in self.process.maps:
            if one.start % HEAP_MAX or not one.is_anonymous():
                continue
            arena, before, size, _, page = self.process.words(one.start, 5)
            is_first = arena // HEAP_MAX * HEAP_MAX == one.start
            if size % PAGE or not PAGE <= size <= one.end - one.start or (
                    before % HEAP_MAX) or self.process.map_at(arena) is None:
                continue
            head = 48 if page in (PAGE, 0) or not is_first else 32
            first = arena + STATE_BYTES if is_first else one.start + head
            self.heaps.append(Heap(one.start, (first + 15) & ~15,
                                   one.start + size, arena))

    def _link(self, at):
        """What a mangled link at this address leads to."""
        return self.process.words(at, 1)[0] ^ (at >> 12)

    def _list(self, block, most):
        """Blocks from this one on, or None: it is no list."""
        found = []
        while block:
            if block % 16 or len(found) == most or not self.heap_at(block):
                return None
            found.append(block)
            block = self._link(block)
        return found

    def _read_tcache(self, block):
        content = self.process.read(block, 640)
        counts = struct.unpack_from("<64H", content)
        heads = struct.unpack_from("<64Q", content, 128)
        blocks = []
        for count, head in zip(counts, heads):
            listed = self._list(head, count) if count else []
            if listed is None or len(listed) != count:
                return None
            blocks += listed
        return blocks

    def _find_caches(self):
        for heap in self.heaps:
            for at, after, used in zip(heap.chunks, heap.chunks[1:], heap.used):
                if used and after - at in TCACHE_CHUNKS:
                    self.cached.update(self._read_tcache(at + 16) or ())
        for state in {one.state or self._main_state(one)
                      for one in self.heaps if one.top}:
            for at in FASTBINS:
                chunk = self.process.words(state + at, 1)[0] if state else 0
                self.cached.update(self._fast_list(chunk))

    def _fast_list(self, chunk):
        found = []
        while chunk and self.heap_at(chunk):
            found.append(chunk + 16)
            chunk = self._link(chunk + 16)
        return found

    def _main_state(self, heap):
        """In the writable data of some libc: what has our top."""
        for one in self.process.maps:
            if "/libc" not in one.name or one.rights[:2] != "rw":
                continue
            words = self.process.words(one.start, (one.end - one.start) // 8)
            for i, word in enumerate(words):
                if word == heap.top and i * 8 >= TOP_AT:
                    return one.start + i * 8 - TOP_AT
        return 0

    # ---- what a stretch of a heap is -----------------------------------------

    def bytes_of(self, heap, start, end):
        """(live, overhead, free) bytes of [start, end) within a heap.

        A chunk begins with its size word, 8 bytes; its block ends where the
        next size word begins. None: the walk did not get there.
        """
        live = overhead = free = 0
        at = max(start, heap.start)
        end = min(end, heap.end)
        while at < end:
            index = heap.index_at(at)
            if index < 0:
                after = min(end, heap.first + 8)
                overhead += after - at
            elif index >= len(heap.used):
                if not heap.is_whole:
                    return None
                after = end
                overhead += after - at
            else:
                chunk = heap.chunks[index]
                after = min(end, heap.chunks[index + 1] + 8)
                if not heap.used[index] or chunk + 16 in self.cached:
                    free += after - at
                else:
                    n_head = max(0, min(after, chunk + 16) - at)
                    overhead += n_head
                    live += after - at - n_head
            at = after
        return live, overhead, free
