"""What a target has alive, by an oracle's word and by the collector's.

An oracle is preloaded before residue's library and writes down what is alive:
under a lock of its own (tests/targets/shadow.c), or without any, each block with
the number of its birth (tests/targets/birthmark.c). Of every process the two
sets are compared address by address, with usable sizes, after its end.
"""
import glob
import os
import signal
import struct
import subprocess
import time

import chain
from chain import rows, same, wait_for

HEAD = struct.Struct("5Q")
ENTRY = struct.Struct("2Q")
CALL = struct.Struct("4Q")
ENTRIES_END = HEAD.size + (1 << 20) * ENTRY.size
NOTHING = (1 << 64) - 1

LOCKED = "libshadow.so"
LOCK_FREE = "libbirthmark.so"
CHUNK_BYTES = MOST_CHUNKS = 1 << 16  # of a file of births (birthmark.c)
ENTRIES = CHUNK_BYTES // 16 - 1
NO_BIRTH = (1 << 64) - 1


class Unheard(AssertionError):
    """A process did not wait until the collector had welcomed it."""


class Oracle:
    """What a process' shadow says."""

    def __init__(self, path):
        with open(path, "rb") as file:
            content = file.read()
        self.doubles, self.unknown, self.overflow, self.births, \
            self.is_whole = HEAD.unpack_from(content)
        self.blocks = {addr: size for addr, size in ENTRY.iter_unpack(
            content[HEAD.size:ENTRIES_END]) if addr > 1}
        calls = list(CALL.iter_unpack(content[ENTRIES_END:]))
        self.n_done = sum(n_done for _, _, _, n_done in calls)
        self.under_way = [(old, asked) for is_open, old, asked, _ in calls
                          if is_open]


def read_chunks(path):
    """first chunk's number, entries that found no room, [how many, chunk]."""
    with open(path, "rb") as file:
        first, n_chunks, overflow = struct.unpack_from(
            "3Q", file.read(CHUNK_BYTES))
        chunks = [file.read(CHUNK_BYTES)
                  for _ in range(min(n_chunks, MOST_CHUNKS))]
    return first, overflow, [
        (min(struct.unpack_from("Q", chunk)[0], ENTRIES), chunk)
        for chunk in chunks]


class Births:
    """What the logs of a process say, of those of its parents until it was
    born: every death names its birth, whichever log that is in."""

    def __init__(self, path):
        self.is_whole = 1
        self.born = {}  # number: (addr, size)
        self.deaths = []  # (number, addr)
        self.unmarked = []  # addresses of deaths of what has no mark
        self.overflow = 0
        self.read(path, None)
        self.end()

    def read(self, path, limits):
        first, overflow, chunks = read_chunks(path)
        self.overflow += overflow
        if os.path.exists(path + ".parent"):
            with open(path + ".parent", "rb") as file:
                parent = file.read(4096).rstrip(b"\0").decode()
                far = file.read()
            self.read(parent, struct.unpack("%dQ" % (len(far) // 8), far))
        for i, (n, chunk) in enumerate(chunks):
            if limits is not None:
                n = min(n, limits[i]) if i < len(limits) else 0
            self.read_chunk((first + i) * ENTRIES, chunk[16:16 * (n + 1)])

    def read_chunk(self, number, content):
        for number, (addr, detail) in enumerate(ENTRY.iter_unpack(content),
                                                number):
            if addr % 2 == 0:
                self.born[number] = (addr, detail)
            elif detail == NO_BIRTH:
                self.unmarked.append(addr - 1)
            else:
                self.deaths.append((detail, addr - 1))

    def end(self):
        """Each death's birth was there, at that address, and is no more."""
        self.births = len(self.born)
        left = dict(self.born)
        wrong = [addr for number, addr in self.deaths
                 if left.pop(number, (None,))[0] != addr]
        self.blocks = dict(left.values())
        self.doubles = len(left) - len(self.blocks)
        self.unknown = len(self.unmarked)
        wrong += set(self.unmarked) & set(self.blocks)
        same("blocks that died twice, or lost their mark",
             ["%#x" % addr for addr in wrong], [])


class Lives:
    """What the collector had of it at its end."""

    def __init__(self, path):
        self.blocks = {}
        self.asked = {}
        if not os.path.exists(path):
            raise Unheard("there is no %s" % path)
        with open(path) as file:
            for line in file:
                words = line.split()
                if words[0] == "orphans":
                    self.orphans, self.doubles = int(words[1]), int(words[3])
                else:
                    addr = int(words[0], 16)
                    self.blocks[addr] = int(words[1])
                    self.asked[addr] = int(words[2])


class Collector:
    """residued --exact in a folder, and what is run under it."""

    def __init__(self, on_full="--on-full=wait", oracle=LOCKED):
        self.folder = chain.folder
        self.oracles = () if oracle is None else (chain.chain.target(oracle),)
        self.socket = os.path.join(self.folder, "s")
        self.process = subprocess.Popen(
            (chain.chain.residued, "--socket", self.socket, "--output",
             self.folder, "--exact", on_full, "--lives", self.folder),
            stdout=subprocess.PIPE, env=chain.clean_environment())
        self.process.stdout.readline()  # it listens, and has time to

    def environment(self, *preloads):
        """The oracle, residue's library, then the others."""
        return chain.clean_environment(
            LD_PRELOAD=" ".join(self.oracles + (chain.chain.preload,) +
                                preloads),
            RESIDUE_SOCKET=self.socket, SHADOW_DIR=self.folder)

    def run(self, *command, **options):
        options.setdefault("env", self.environment())
        return chain.run(*command, **options)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        same("residued's exit status", self.process.wait(chain.TIMEOUT), 0)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def recording(self):
        return glob.glob(os.path.join(self.folder, "*.rec"))[0]


def oracles_of(folder):
    """(pid, what an oracle says of its last image), of every process."""
    for path in glob.glob(os.path.join(folder, "*.shadow")):
        yield int(os.path.basename(path).split(".")[0]), Oracle(path)
    images = {}
    for path in glob.glob(os.path.join(folder, "*.births")):
        pid, at, _ = os.path.basename(path).split(".")
        images[int(pid)] = max(images.get(int(pid), (0, "")), (int(at), path))
    for pid, (_, path) in images.items():
        yield pid, Births(path)


def compare(folder):
    """A sentence; every process that has both files is compared."""
    n_blocks = n_births = 0
    pids = []
    for pid, true in oracles_of(folder):
        ours = Lives(os.path.join(folder, "%d.live" % pid))
        if true.blocks and not ours.blocks:
            raise Unheard("process %d told nothing" % pid)
        same("whole, overflow of the oracle", (true.is_whole, true.overflow),
             (1, 0))
        same("orphans, doubles of %d" % pid, (ours.orphans, ours.doubles),
             (true.unknown, true.doubles))
        if ours.blocks != true.blocks:
            differ = set(ours.blocks.items()) ^ set(true.blocks.items())
            raise AssertionError(
                "process %d: of %d blocks (ours %d) %d differ: %s" % (
                    pid, len(true.blocks), len(ours.blocks), len(differ),
                    ", ".join("%#x %d" % one for one in sorted(differ)[:6])))
        n_blocks += len(true.blocks)
        n_births += true.births
        pids.append(pid)
    if not pids:
        raise AssertionError("nobody was compared")
    return "%d processes, %d births, %d blocks alive" % (len(pids), n_births,
                                                         n_blocks)


def losses(recording):
    """Events and batches, of all processes."""
    return rows(recording, "SELECT coalesce(sum(lost_events), 0), "
                "coalesce(sum(lost_batches), 0) FROM process")[0]


def check_lossless(recording):
    same("lost events and batches", losses(recording), (0, 0))


def again(check, *arguments):
    """A process waits a second to be welcomed. On a machine that is busy with
    something else this may be too short: then it is run again after a while, at
    most four times, and this is said."""
    for attempt in range(3):
        try:
            return check(*arguments)
        except Unheard as unheard:
            print("# run %d, to be repeated: %s" % (attempt + 1, unheard))
            chain.fresh_folder()
            time.sleep(attempt + 1)  # what is in the way may pass
    return check(*arguments)


def follow(*command, status=0, oracle=LOCKED, **options):
    """Options: of run."""
    return again(follow_once, command, status, oracle, options)


def follow_once(command, status, oracle, options):
    with Collector(oracle=oracle) as collector:
        result = collector.run(*command, **options)
        collector.end()
        same("exit status", (result.returncode, result.stderr), (status, b""))
        check_lossless(collector.recording())
        return compare(collector.folder)
