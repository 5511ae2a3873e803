"""What the benchmark found, as tables and beside the goals of DESIGN 9."""
import statistics

from figures import Ratio, print_table, with_summary
from peers import MASSIF_SHARE
from rig import WAYS

WORKLOADS = ("w1", "w2", "w3", "w4", "w5", "w6", "w7")

# The goals of DESIGN 9; of the workloads' instructions, the bar for landing.
WORST_INSTRUCTIONS = 1.02
MEDIAN_INSTRUCTIONS = 1.01
LOOP = 1.15
EXACT_LOOP = 1.5
WORST_CPU = 1.03
START_AND_FINISH_MS = 30
PROFILER_KIB = 2048 + 64  # one thread


class Results(object):
    def __init__(self, size):
        self.size = size
        self.loop_goal = LOOP if size.is_watch else EXACT_LOOP
        self.counts = {}  # (name, way): instructions
        self.rounds = {}  # name: [{way: Cost}, ...]
        self.starts = {}  # name: [(bare ms, under residue run ms), ...]
        self.peers = []  # the names of those that were found
        self.missing = []  # [why a peer is not, ...]
        self.beside = {}  # name: {peer: all CPU over bare}

    # ---- single figures ----------------------------------------------------

    def instructions(self, name, against="null"):
        if (name, "ours") not in self.counts:
            return None
        return self.counts[name, "ours"] / self.counts[name, against]

    def cpu(self, name, against):
        if name not in self.rounds:
            return None
        return Ratio([(costs["ours"].cpu_s, costs[against].cpu_s)
                      for costs in self.rounds[name]])

    def of_ours(self, name, figure, summary=statistics.median):
        """One figure of our runs of this workload, or None."""
        if name not in self.rounds:
            return None
        return summary([figure(costs["ours"]) for costs in self.rounds[name]])

    def profiler_kib(self, name):
        return self.of_ours(name, lambda cost: cost.profiler_bytes / 1024, max)

    def least_seconds(self):
        return min(costs["bare"].cpu_s for name in self.rounds
                   for costs in self.rounds[name])

    def measured(self):
        return [name for name in WORKLOADS
                if (name, "ours") in self.counts or name in self.rounds]

    # ---- tables ------------------------------------------------------------

    def print_all(self):
        if self.measured():
            self.print_figures()
            self.print_absolute()
        if ("loop", "ours") in self.counts or "loop" in self.rounds:
            self.print_loop()
        if self.starts:
            self.print_starts()
        if self.beside:
            self.print_peers()
        self.print_goals()

    def row_of_figures(self, name):
        row = [name, self.instructions(name), self.instructions(name, "bare"),
               self.of_ours(name, lambda cost:
                            cost.collector_cpu_s / cost.cpu_s)]
        for against in ("null", "bare"):
            ratio = self.cpu(name, against)
            row += [ratio and ratio.median, ratio and ratio.interval()]
        return row + [self.profiler_kib(name),
                      self.of_ours(name, lambda cost: cost.lost_events, max)]

    def print_figures(self):
        title = "Level %s: ours over the null interposer and over the " \
                "bare program" % self.size.level
        if self.rounds:
            title += "\nCPU: medians of %d interleaved rounds with 95 %% " \
                     "intervals, runs of %.1f s and more%s" % (
                         self.size.rounds, self.least_seconds(),
                         " (--quick)" if self.size.is_quick else "")
        print_table(title, [
            ("", 0), ("instructions\n/null", 4), ("\n/bare", 4),
            ("collector's\nCPU/target's", 3), ("target's CPU\n/null", 3),
            ("\n95 %", 0), ("\n/bare", 3), ("\n95 %", 0),
            ("KiB\nadded", 0), ("events\nlost", 0),
        ], with_summary([self.row_of_figures(name) for name in
                         self.measured()], (1, 2, 3, 4, 6, 8, 9)))

    def row_of_absolute(self, name):
        row = [name]
        row += [self.counts[name, way] / 1e6 if (name, way) in self.counts
                else None for way in WAYS]
        row += [statistics.median(costs[way].cpu_s
                                  for costs in self.rounds[name])
                if name in self.rounds else None for way in WAYS]
        return row + [self.of_ours(name, lambda cost: cost.collector_cpu_s),
                      self.of_ours(name, lambda cost: cost.censuses)]

    def print_absolute(self):
        print_table(
            "What these are ratios of: instructions of short runs (%g of full "
            "size), medians of CPU" % self.size.count_scale,
            [("", 0), ("10^6 instructions\nbare", 1), ("\nnull", 1),
             ("\nours", 1), ("CPU seconds\nbare", 2), ("\nnull", 2),
             ("\nours", 2), ("\ncollector", 2), ("\ncensuses", 0)],
            [self.row_of_absolute(name) for name in self.measured()])

    def print_loop(self):
        rows = []
        if ("loop", "ours") in self.counts:
            rows.append(["instructions a pair"] + [
                self.counts["loop", way] / self.size.count_pairs
                for way in WAYS] + [self.instructions("loop"), None])
        ratio = self.cpu("loop", "null")
        if ratio is not None:
            rows.append(["ns of CPU a pair"] + [
                statistics.median(costs[way].cpu_s for costs in
                                  self.rounds["loop"])
                * 1e9 / self.size.time_pairs
                for way in WAYS] + [ratio.median, ratio.interval()])
        print_table("malloc(64) and free in a loop",
                    [("", 0), ("bare", 1), ("null", 1), ("ours", 1),
                     ("ours/null", 3), ("95 %", 0)], rows)

    def added_ms(self, name):
        return [ours - bare for bare, ours in self.starts[name]]

    def print_starts(self):
        rows = []
        for name in self.starts:
            added = self.added_ms(name)
            extra = None
            if (name, "ours") in self.counts:
                extra = (self.counts[name, "ours"]
                         - self.counts[name, "null"]) / 1e6
            rows.append([name,
                         statistics.median(bare for bare, _ in
                                           self.starts[name]),
                         statistics.median(added), min(added), max(added),
                         extra])
        print_table(
            "Start and finish: wall ms that `residue run -q` adds, of %d "
            "starts, and instructions\nthat the preload adds to the null "
            "interposer's" % self.size.starts,
            [("", 0), ("ms\nbare", 1), ("ms added\nmedian", 1), ("\nleast", 1),
             ("\nmost", 1), ("10^6\ninstructions", 2)], rows)

    def print_peers(self):
        rows = [[name] + [costs.get(peer) for peer in self.peers]
                for name, costs in self.beside.items()]
        print_table(
            "Peers: CPU of the program and its profiler together, start and "
            "finish included, over the\nbare program's: mean of %d run(s) at %g "
            "of full size, massif once at %g; `memray\nobjects`: with "
            "--trace-python-allocators" % (
                self.size.peer_rounds, self.size.peer_scale,
                self.size.peer_scale * MASSIF_SHARE),
            [("", 0)] + [(peer.replace(" ", "\n"), 2) for peer in self.peers],
            with_summary(rows, range(1, len(self.peers) + 1)))
        for why in self.missing:
            print("not measured: %s" % why)

    # ---- goals -------------------------------------------------------------

    def instruction_goals(self):
        of_workloads = {name: self.instructions(name) for name in WORKLOADS
                        if (name, "ours") in self.counts}
        if of_workloads and self.size.is_watch:
            worst = max(of_workloads, key=of_workloads.get)
            yield (of_workloads[worst] <= WORST_INSTRUCTIONS,
                   "instructions within %.2f of the null interposer's: %.4f at "
                   "worst (%s)" % (WORST_INSTRUCTIONS, of_workloads[worst],
                                   worst))
            median = statistics.median(of_workloads.values())
            yield (median <= MEDIAN_INSTRUCTIONS, "their median within %.2f: "
                   "%.4f" % (MEDIAN_INSTRUCTIONS, median))
        if ("loop", "ours") in self.counts:
            loop = self.instructions("loop")
            yield (loop <= self.loop_goal, "a loop of malloc and free within "
                   "%.2f, by instructions: %.3f" % (self.loop_goal, loop))

    def cpu_goals(self):
        ratios = {name: self.cpu(name, "null") for name in self.rounds}
        above = [name for name in WORKLOADS
                 if name in ratios and ratios[name].low is not None
                 and ratios[name].low > WORST_CPU]
        if any(name in ratios for name in WORKLOADS) and \
                self.size.is_watch:
            yield (not above, "CPU does not contradict: no interval lies above "
                   "%.2f%s" % (WORST_CPU,
                               "".join(", but of " + name for name in above)))
        if "loop" in ratios:
            yield (ratios["loop"].median <= self.loop_goal,
                   "a loop of malloc and free within %.2f, by CPU: %.3f" %
                   (self.loop_goal, ratios["loop"].median))

    def other_goals(self):
        if self.starts:
            added_ms = max(statistics.median(self.added_ms(name))
                           for name in self.starts)
            yield (added_ms <= START_AND_FINISH_MS, "start and finish within "
                   "%d ms: %.1f ms" % (START_AND_FINISH_MS, added_ms))
        if self.rounds:
            kib = max(self.profiler_kib(name) for name in self.rounds)
            yield (kib <= PROFILER_KIB, "memory added to a target of one "
                   "thread within %d KiB: %d KiB" % (PROFILER_KIB, kib))

    def print_goals(self):
        if self.size.is_quick:
            print("\nEverything could be measured; runs so short say nothing "
                  "of the goals.")
            return
        goals = [*self.instruction_goals(), *self.cpu_goals(),
                 *self.other_goals()]
        if goals:
            print("\nGoals at level %s" % self.size.level)
        for is_met, text in goals:
            print("  %-6s  %s" % ("met" if is_met else "MISSED", text))
