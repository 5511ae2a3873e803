"""At level watch a sample of the blocks says how much each place has, and how
sure that is.

The target knows what its places have alive and have allocated; it runs itself
again and again (tests/targets/sampled.c), so that what is random is seen to be
random as it should be.
"""
import math
import os

import chain
from chain import rows, same

RUNS = 250  # a share is off by 2 % by chance once in thousands
MEAN = 16384
EXACT = ("make_large",)  # each of its blocks is told for itself
ALMOST = ("make_big", "make_huge")  # blocks of MEAN and more: most are
Z = 1.96  # standard errors, of 95 %
FIGURES = ("live_bytes", "alloc_bytes")


def record(*options, command):
    recording = os.path.join(chain.folder, "it.rec")
    bare = chain.run(*command[:-1], "once")
    result = chain.run(chain.chain.residue, "run", "-q", "-f", "-o", recording,
                       *options, "--", *command, timeout=200)
    same("error and status", (result.stderr, result.returncode),
         (bare.stderr, 0))
    return result.stdout.decode(), recording


def truths_of(output):
    """Of each run a dictionary: function to its four figures."""
    runs = []
    for line in output.split("\n")[:-1]:
        name, *figures = line.split()
        if name == "make_tiny":
            runs.append({})
        runs[-1][name] = dict(zip(
            ("live_blocks", "live_bytes", "alloc_blocks", "alloc_bytes"),
            map(int, figures)))
    return runs


def estimate(process, function, figure):
    """What the sites of the function have, and one standard error."""
    own = [one for one in process["sites"]
           if [frame["function"] for frame in one["frames"]][:1] == [function]]
    return (sum(one[figure] for one in own),
            math.hypot(*[one.get(figure + "_error", 0) for one in own]))


def run_sampled(argument, *options):
    """What it printed of itself, and what is known of all its processes."""
    output, recording = record(*options, command=(
        chain.chain.target("sampled"), argument))
    processes = chain.stats(recording)["processes"]
    for process in processes:
        same("level and loss", (process["level"], process["loss"]["events"]),
             ("watch", 0))
    return truths_of(output), processes, recording


def results(truths, processes, figure):
    """(function, truth, estimate, error), of all runs and sampled places."""
    return [(function, truth[figure], *estimate(process, function, figure))
            for truth, process in zip(truths, processes)
            for function, truth in truth.items() if function not in EXACT]


def check_exact(truths, processes):
    for truth, process in zip(truths, processes):
        for function in EXACT:
            for figure, true in truth[function].items():
                same("%s of %s" % (figure, function),
                     estimate(process, function, figure), (true, 0))


def check_figure(truths, processes, figure):
    all_results = results(truths, processes, figure)
    n_covered = sum(abs(said - true) <= Z * error
                    for _, true, said, error in all_results)
    share = n_covered / len(all_results)
    lines = []
    for name in dict.fromkeys(one[0] for one in all_results):
        own = [one[1:] for one in all_results if one[0] == name]
        true = sum(one[0] for one in own) / len(own)
        mean = sum(one[1] for one in own) / len(own)
        error = sum(one[2] for one in own) / len(own)
        expected = math.sqrt(true * MEAN)
        off = (mean - true) / (expected / math.sqrt(len(own)))
        lines.append("%s: %.0f bytes, said %+.1f %%, error %.2f of sqrt(B T)" %
                     (name, true, 100 * (mean / true - 1), error / expected))
        if abs(off) > 4:
            raise AssertionError("biased by %.1f deviations: %s" %
                                 (off, lines[-1]))
        if name not in ALMOST and abs(error / expected - 1) > 0.2:
            raise AssertionError(lines[-1])
    print("# " + "\n# ".join(lines))
    sentence = "%s of %d: %.1f %% covered" % (figure, len(all_results),
                                              100 * share)
    if not 0.93 <= share <= 0.97:
        raise AssertionError(sentence)
    return sentence


def test_coverage():
    """Error bars cover what they should, and are no wider than they need be"""
    truths, (_, *runs), _ = run_sampled(str(RUNS), "--sample", str(MEAN))
    same("runs", (len(truths), len(runs)), (RUNS, RUNS))
    check_exact(truths, runs)
    return [(True, check_figure(truths, runs, figure)) for figure in FIGURES]


def test_default():
    """Without a word a sample is taken; where none is wanted there is none"""
    _, (process,), recording = run_sampled("once")
    large, _ = estimate(process, "make_large", "live_blocks")
    same("large blocks", large, 3)
    n_estimates = sum("live_bytes_error" in one for one in process["sites"])
    if n_estimates == 0:
        raise AssertionError("nothing was sampled")
    text = chain.run(chain.chain.residue, "stats", recording).stdout.decode()
    if "± one standard error" not in text:
        raise AssertionError("the text has no errors:\n%s" % text)
    same("small blocks without an error", rows(
        recording, "SELECT count(*) FROM v_sites WHERE live_bytes_error IS NULL"
        " AND alloc_bytes_error IS NULL"
        " AND alloc_bytes < alloc_blocks * 131072")[0][0], 0)
    _, (process,), _ = run_sampled("once", "--sample", "0")
    same("sites without a sample", process["sites"], None)
    return [(True, "%d estimated, large blocks exact" % n_estimates)]


def test_usage():
    """What cannot be is said"""
    for options, words in ((("--sample", "x"), b"--sample x: it is a number"),
                           (("--sample", "1K", "--exact"),
                            b"--sample goes without --exact")):
        result = chain.run(chain.chain.residue, "run", *options, "true")
        same("status", result.returncode, 2)
        if words not in result.stderr:
            raise AssertionError(result.stderr)


if __name__ == "__main__":
    chain.main(globals())
