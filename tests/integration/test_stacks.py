"""With --native-stacks each block has the place it was born at, by its name.

The target knows how many blocks of each place stay (tests/targets/sites.c), and
two plugins of it are loaded by turns at the same addresses.
"""
import os
import shutil

import chain
from chain import rows, same

# function: blocks that stay, and how many were made
EXPECTED = {
    "make_small": (500, 1000),
    "make_large": (5, 5),
    "make_aligned": (30, 30),
    "make_inlined": (7, 7),
    "make_in_thread": (150, 150),
    "make_in_handler": (9, 9),
    "make_in_fiber": (10, 10),
}
PLUGINS = {"make_in_a": (110, 110), "make_in_b": (110, 110)}


def record(*command, **options):
    recording = os.path.join(chain.folder, "it.rec")
    result = chain.run(chain.chain.residue, "run", "-q", "-f", "-o", recording,
                       "--native-stacks", "--", *command, **options)
    return result, recording


def sites_of(recording):
    process = chain.stats(recording)["processes"][0]  # CMD
    same("level", process["level"], "exact")
    same("loss", (process["loss"]["events"], process["loss"]["batches"]),
         (0, 0))
    return process["sites"]


def functions_of(site):
    return [frame["function"] for frame in site["frames"]]


def site_of(sites, function):
    """The one that is innermost in the function."""
    one, = [one for one in sites if functions_of(one)[:1] == [function]]
    return one


def totals_of(sites, function):
    """Of the sites whose innermost frames are in the function."""
    own = [one for one in sites if function in functions_of(one)[:2]]
    return (sum(one["live_blocks"] for one in own),
            sum(one["alloc_blocks"] for one in own))


def run_sites(*arguments):
    command = (chain.chain.target("sites"),) + arguments
    bare = chain.run(*command)
    result, recording = record(*command)
    same("output and status",
         (result.stdout, result.stderr, result.returncode),
         (bare.stdout, bare.stderr, bare.returncode))
    return recording


def check_totals(sites, expected):
    for function, totals in expected.items():
        same("blocks that live, were born in %s" % function,
             totals_of(sites, function), totals)
    return ", ".join("%s %d of %d" % (function, *totals)
                     for function, totals in expected.items())


def test_counts():
    """Blocks are counted by the function that asked for them"""
    sites = sites_of(run_sites())
    return [(True, check_totals(sites, EXPECTED))]


def test_plugins():
    """Two images by turns at the same addresses keep their own blocks"""
    sites = sites_of(run_sites(chain.chain.target("libplugin_a.so"),
                               chain.chain.target("libplugin_b.so")))
    return [(True, check_totals(sites, {**EXPECTED, **PLUGINS}))]


def test_unseen():
    """Where nobody told that one was unloaded, no block is lost"""
    sites = sites_of(run_sites(chain.chain.target("libplugin_a.so"),
                               chain.chain.target("libplugin_b.so"), "unseen"))
    check_totals(sites, EXPECTED)
    both = [sum(pair) for pair in zip(totals_of(sites, "make_in_a"),
                                      totals_of(sites, "make_in_b"))]
    same("blocks of both plugins", both, [220, 220])


def test_frames():
    """A stack goes from the call of malloc to the start, with its lines"""
    sites = sites_of(run_sites())
    with open(chain.chain.source("sites.c")) as file:
        lines = file.read().split("\n")
    site = site_of(sites, "make_large")
    same("functions", functions_of(site)[:2], ["make_large", "main"])
    if functions_of(site)[-1] != "_start":
        raise AssertionError("the outermost frame is %s" %
                             functions_of(site)[-1])
    first = site["frames"][0]
    same("file", os.path.basename(first["file"]), "sites.c")
    same("module", os.path.basename(first["module"]), "sites")
    if "malloc(200000)" not in lines[first["line"] - 1]:
        raise AssertionError("line %d is %r" % (first["line"],
                                                lines[first["line"] - 1]))

    site = site_of(sites, "make_inlined")
    same("an inlined function and who has it", functions_of(site)[:3],
         ["make_inlined", "make_in_inlined", "main"])

    # The three threads differ in nothing: they are one site.
    site = site_of(sites, "make_in_thread")
    same("blocks of three threads", site["live_blocks"], 150)
    if len(site["frames"]) < 3:
        raise AssertionError("a thread's stack: %s" % functions_of(site))

    # Out of a signal handler, through the kernel's frame, to raise.
    site = site_of(sites, "make_in_handler")
    if "main" not in functions_of(site):
        raise AssertionError("out of a handler: %s" % functions_of(site))

    # The bounds of a fiber's stack are not known: its caller is all.
    site = site_of(sites, "make_in_fiber")
    same("frames of a fiber", len(site["frames"]), 1)


def test_sums():
    """The sites add up to what the process has alive"""
    recording = run_sites()
    (live_blocks, live_bytes), = rows(
        recording, "SELECT live_blocks, live_bytes FROM process")
    sums = rows(recording, "SELECT sum(live_blocks), sum(live_bytes) "
                "FROM v_sites WHERE kind = 'drained'")[0]
    same("live blocks and bytes", sums, (live_blocks, live_bytes))


def test_deleted_program():
    """A program that is deleted while it runs is still named"""
    program = os.path.join(chain.folder, "gone")
    shutil.copy(chain.chain.target("sites"), program)
    result, recording = record("sh", "-c", "exec 3<%s; rm %s; "
                               "exec /proc/self/fd/3" % (program, program))
    same("status", (result.returncode, result.stderr), (0, b""))
    check_totals(sites_of(recording), EXPECTED)


def test_names_travel():
    """A recording says the same where the program is not"""
    program = os.path.join(chain.folder, "gone")
    shutil.copy(chain.chain.target("sites"), program)
    result, recording = record(program)
    same("status", result.returncode, 0)
    before = sites_of(recording)
    os.remove(program)
    same("sites", sites_of(recording), before)


def test_exceptions():
    """A program that throws goes on as it does bare"""
    source = os.path.join(chain.folder, "throws.cc")
    program = os.path.join(chain.folder, "throws")
    with open(source, "w") as file:
        file.write(THROWS)
    built = chain.run("g++", "-O2", "-o", program, source)
    if built.returncode != 0:
        raise chain.Skip("no C++ compiler")
    bare = chain.run(program)
    result, recording = record(program)
    same("output", (result.stdout, result.returncode),
         (bare.stdout, bare.returncode))
    names = {frame["function"] for site in sites_of(recording)
             for frame in site["frames"]}
    if not any("deep" in name for name in names if name):
        raise AssertionError("no frame of the program among %s" %
                             sorted(name for name in names if name)[:20])


THROWS = """
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

__attribute__((noinline)) int deep(int n)
{
    std::string text(200 + n % 50, 'x');
    if (n == 0)
        throw std::runtime_error(text);
    return deep(n - 1) + (int)text.size();
}

int main()
{
    std::map<int, std::vector<std::string>> kept;
    int caught = 0;
    for (int i = 0; i < 300; i++) {
        try {
            deep(i % 40);
        } catch (const std::exception &error) {
            caught += error.what()[0] == 'x';
            kept[i % 7].push_back(error.what());
        }
    }
    std::cout << caught << " " << kept.size() << "\\n";
}
"""


def test_every_interpreter():
    """An interpreter runs as it does bare, and its stacks are whole"""
    return chain.on_every_interpreter(check_interpreter)


def check_interpreter(interpreter):
    script = ("import json; print(len(json.dumps([{'a': [1.5] * 40, "
              "'b': 'x' * 700}] * 300)))")
    bare = chain.run(interpreter.path, "-c", script)
    result, recording = record(interpreter.path, "-c", script)
    same("output", (result.stdout, result.stderr, result.returncode),
         (bare.stdout, bare.stderr, bare.returncode))
    whole, all_of_them = rows(
        recording, "SELECT coalesce(sum(alloc_blocks * (is_cut = 0)), 0), "
        "sum(alloc_blocks) FROM v_sites WHERE kind = 'drained' AND site > 0")[0]
    if whole < 0.99 * all_of_them:
        raise AssertionError("%d of %d blocks have a whole stack" %
                             (whole, all_of_them))
    return "%d of %d blocks have a whole stack" % (whole, all_of_them)


if __name__ == "__main__":
    chain.main(globals())
