"""What the exact stream costs, beside the null interposer and heaptrack: a pair
of malloc and free, the collector where many blocks live, a compilation, a
server.
"""
import compiler
from crowd import Crowd
from figures import print_table
from results import EXACT_LOOP, LOOP
from rig import Command, Failure
from servers import Servers
from ways import WAYS, Beside

PARTS = ("pair", "collector", "cc1", "redis")

PAIR = {"exact": EXACT_LOOP, "watch": LOOP}
PROGRAM = {"exact": 1.15, "watch": 1.05}


class Size(object):
    """How much of everything is measured."""

    def __init__(self, is_quick, rounds):
        self.is_quick = is_quick
        self.rounds = rounds or (2 if is_quick else 5)
        self.n_pairs = 40000000 if is_quick else 100000000
        self.peers_share = 0.02  # of the pairs: they take a microsecond each
        self.count_pairs = 500000 if is_quick else 5000000
        self.n_live = 300000 if is_quick else 10000000
        self.n_churns = 300000 if is_quick else 10000000
        self.crowd_rounds = 1 if is_quick else 3
        self.n_copies = 4 if is_quick else 25
        self.server_bytes = 10000000 if is_quick else 100000000
        self.server_rounds = self.rounds * (1 if is_quick else 3)
        self.window_s = 1 if is_quick else 2
        self.rate = 2000


class Exact(object):
    """Those of the parts that are asked for; none is None."""

    def __init__(self, rig, size, only, progress):
        self.rig = rig
        self.size = size
        self.only = [part for part in PARTS if part in only]
        self.progress = progress
        self.counts = {}
        self.found = {}  # part: what has print_all
        self.missing = []

    def measure(self, skip):
        for part in self.only:
            try:
                if part == "pair" and "instructions" not in skip:
                    self.count()
                if "cpu" not in skip:
                    getattr(self, part)()
            except (Failure, OSError) as why:
                self.missing.append("%s: %s" % (part, why))

    def keep(self, part, found):
        self.found[part] = found
        found.measure(self.progress)

    def command(self, n_pairs):
        return Command("pair", [self.rig.loop, str(n_pairs)],
                       least_births=n_pairs)

    def count(self):
        for way in WAYS:
            if way != "heaptrack":
                self.counts[way] = self.rig.count(self.command(
                    self.size.count_pairs), way, 1).instructions

    def pair(self):
        size = self.size
        fewer = self.command(int(size.n_pairs * size.peers_share))
        self.keep("pair", Beside(self.rig, self.command(size.n_pairs),
                                 size.rounds, fewer, size.peers_share))

    def collector(self):
        self.keep("collector", Crowd(self.rig, self.size))

    def cc1(self):
        with self.rig.directory() as directory:
            command = compiler.command(self.rig.top, directory,
                                       self.size.n_copies)
            self.keep("cc1", Beside(self.rig, command, self.size.rounds))

    def redis(self):
        self.keep("redis", Servers(self.rig, self.size))

    # ---- results -----------------------------------------------------------

    def of_null(self, way):
        return self.counts[way] / self.counts["null"]

    def print_all(self):
        if self.counts:
            print_table(
                "A pair of malloc(64) and free: instructions",
                [("", 0), ("a pair", 1), ("/null", 3)],
                [[way, n / self.size.count_pairs, self.of_null(way)]
                 for way, n in self.counts.items()])
        for found in self.found.values():
            found.print_all()
        for why in self.missing:
            print("not measured: %s" % why)
        if self.only and not self.size.is_quick:
            print("\nGoals of the exact stream")
            for is_met, text in self.goals():
                print("  %-6s  %s" % ("met" if is_met else "MISSED", text))

    def goals(self):
        if self.counts:
            ratio = self.of_null("exact")
            yield (ratio <= PAIR["exact"], "a pair within %.1f of the null "
                   "interposer, by instructions: %.3f" % (PAIR["exact"],
                                                          ratio))
        for part, most in (("pair", PAIR), ("collector", None),
                           ("cc1", PROGRAM), ("redis", PROGRAM)):
            if part in self.found:
                yield from (self.found[part].goals(most) if most else
                            self.found[part].goals())
