"""bash's own tests, one of its scripts at a time: thousands of processes.

Each is a script that compares what bash wrote with what is right, and prints
the difference: without one it has passed. An outcome that is none says how
many lines differ: `fail 4`.
"""
import glob
import os
import shutil

from packages import output_of
from runner import Command

# They run the others.
NO_TESTS = ("run-all", "run-minimal", "run-gprof")


class Bash:
    name = "bash"
    is_parallel = False  # fixed names in the temporary directory

    def __init__(self, folder):
        self.folder = folder
        self.source = os.path.join(folder, "source")
        self.tests = os.path.join(self.source, "tests")

    def fetch(self, archive):
        return archive.unpack("bash", self.source)

    def build(self, unused_names):
        """As Debian does it: with the C library's malloc."""
        if not os.path.exists(os.path.join(self.source, "Makefile")):
            output_of(["./configure", "--without-bash-malloc",
                              "--enable-largefile", "CFLAGS=-O2 -w"],
                             cwd=self.source)
        output_of(["make", "YACC=bison -y", "bash"], cwd=self.source)
        for name in ("recho", "zecho", "printenv", "xcase"):
            output_of(["make", name], cwd=self.source)
            shutil.copy(os.path.join(self.source, name), self.tests)
        return []

    # ---- running -----------------------------------------------------------

    def all_names(self):
        names = [os.path.basename(path) for path in
                 sorted(glob.glob(os.path.join(self.tests, "run-*")))]
        return [name[len("run-"):] for name in names
                if name not in NO_TESTS and "." not in name]

    def command(self, name):
        """What differs is on standard output; the rest is advice. They write
        beside themselves, too: each gets a copy of all."""
        return Command(
            ["sh", "-c",
             'cp -R "$1" tests && cd tests || exit; '
             'BASH_TSTOUT=$TMPDIR/out; export BASH_TSTOUT; '
             'PATH=.:$PWD:$PATH; export PATH; '
             'sh "./run-$0" 2>/dev/null; echo "status $?"', name,
             self.tests],
            seconds=120,
            THIS_SH=os.path.join(self.source, "bash"),
            BUILD_DIR=self.source)

    @staticmethod
    def outcome(ended):
        lines = ended.output.splitlines()
        if lines == ["status 0"]:
            return "pass"
        return "fail %d" % sum(line[:1] in ("<", ">") for line in lines)
