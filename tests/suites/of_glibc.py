"""glibc's own tests of its allocator, against the glibc that is installed.

Built are Debian's sources of the installed version: malloc/tst-*.c, with the
test driver of support/ as a library. Nothing of glibc itself is built, so that
the malloc under test is the one that programs here run with, and a preload is
loaded as it is anywhere. What the sources want of glibc's own headers is
copied from include/, or is in shim/. Symbols of GLIBC_PRIVATE are those of the
installed libc.so.6.

Variants are those of glibc's malloc/Makefile, by the same endings: -mcheck
(linked with -lmcheck), -malloc-check, -malloc-hugetlb1, -malloc-hugetlb2.
"""
import concurrent.futures
import glob
import os
import shutil
import subprocess

from debian import installed_version
from packages import Failure, output_of
from runner import Command

HERE = os.path.dirname(os.path.abspath(__file__))
MCHECK = "-mcheck"  # the only variant that is a program of its own
DEBUG = "libc_malloc_debug.so.0"
TUNABLES = "GLIBC_TUNABLES"
UNSUPPORTED = 77
PATIENCE = "30"  # times the driver's 20 s: one test has 10 million blocks
REFUSED = 125  # residue run's own status

# As glibc's Rules have them; a variant has none of a test's own environment.
VARIANTS = (
    ("-malloc-hugetlb1", {TUNABLES: "glibc.malloc.hugetlb=1"}),
    ("-malloc-hugetlb2", {TUNABLES: "glibc.malloc.hugetlb=2"}),
    ("-malloc-check", {"MALLOC_CHECK_": "3", "LD_PRELOAD": DEBUG}),
    (MCHECK, {"LD_PRELOAD": DEBUG}),
)
# Names that end like a variant and are none.
PLAIN = ("tst-malloc-check",)
OWN = {
    "tst-malloc-check": {"MALLOC_CHECK_": "3", "LD_PRELOAD": DEBUG},
    "tst-malloc-usable": {"MALLOC_CHECK_": "3", "LD_PRELOAD": DEBUG},
    "tst-malloc-usable-tunables": {TUNABLES: "glibc.malloc.check=3",
                                   "LD_PRELOAD": DEBUG},
    "tst-mxfast": {
        TUNABLES: "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"},
    "tst-compathooks-on": {"LD_PRELOAD": DEBUG},
    "tst-mallocstate": {"LD_PRELOAD": DEBUG},
}
# Their program runs under mtrace(), and a script reads what that wrote.
TRACED = ("tst-mtrace", "tst-dynarray", "tst-dynarray-fail")

FLAGS = ("-O2 -g -w -std=gnu11 -fgnu89-inline -D_GNU_SOURCE "
         "-DTEST_NO_MALLOPT -DTIMEOUTFACTOR=1 "
         "-include limits.h -include libc-symbols.h").split()
PATHS = ("SRCDIR", "OBJDIR", "OBJDIR_ELF_LDSO", "INSTDIR", "LIBDIR", "BINDIR",
         "SBINDIR", "SLIBDIR", "ROOTSBINDIR", "COMPLOCALEDIR")
HEADERS = ("include/alloc_buffer.h", "include/array_length.h",
           "include/intprops.h", "include/libc-diag.h",
           "include/libc-pointer-arith.h", "include/scratch_buffer.h",
           "malloc/dynarray.h", "sysdeps/generic/malloc-alignment.h",
           "sysdeps/generic/malloc-size.h")
AUXILIARY = {"tst-interpose-nothread": "tst-interpose-aux-nothread",
             "tst-interpose-thread": "tst-interpose-aux-thread",
             "tst-interpose-static-nothread": "tst-interpose-aux-nothread",
             "tst-interpose-static-thread": "tst-interpose-aux-thread"}


def split(name):
    """(program, environment): what a test of this name runs."""
    for ending, environment in VARIANTS:
        if name.endswith(ending) and name not in PLAIN:
            program = name[:-len(ending)]
            return (program + ending if ending == MCHECK else program,
                    environment)
    return name, OWN.get(name, {})


class Glibc:
    name = "glibc"
    is_parallel = False  # some measure time, some want much memory

    def __init__(self, folder):
        self.folder = folder
        self.source = os.path.join(folder, "source")
        self.programs = os.path.join(folder, "programs")

    def fetch(self, archive):
        return archive.unpack("glibc", self.source,
                              installed_version("libc6"))

    # ---- building ----------------------------------------------------------

    def _flags(self):
        """Never the root of the sources: its headers are not the system's."""
        defines = ['-D%s_PATH="/usr"' % name for name in PATHS]
        return FLAGS + defines + [
            "-I", os.path.join(HERE, "shim"),
            "-I", os.path.join(self.folder, "include"),
            "-I", os.path.join(self.source, "support")]

    def _compile(self, path):
        """The object, or None and why."""
        target = os.path.join(self.folder, "objects",
                              os.path.basename(path)[:-2] + ".o")
        if os.path.exists(target):
            return target, ""
        done = subprocess.run(["gcc"] + self._flags() + ["-c", path, "-o",
                                                         target],
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        return (target if done.returncode == 0 else None,
                done.stdout.decode("utf-8", "replace"))

    def _copy_headers(self):
        folder = os.path.join(self.folder, "include")
        os.makedirs(folder, exist_ok=True)
        for name in HEADERS:
            shutil.copy(os.path.join(self.source, name), folder)
        for name in ("malloc", "support"):
            link = os.path.join(folder, name)
            if not os.path.islink(link):
                os.symlink(os.path.join(self.source, name), link)

    def _build_driver(self):
        """What of support/ can be built outside of glibc, as an archive."""
        paths = [path for path in sorted(glob.glob(os.path.join(
            self.source, "support", "*.c")))
            if not os.path.basename(path).startswith(("tst-", "test-"))]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = [one for one, _ in pool.map(self._compile, paths) if one]
        library = os.path.join(self.folder, "libsupport.a")
        if os.path.exists(library):
            os.unlink(library)
        output_of(["ar", "rcs", library] + objects)
        return library

    def _build_program(self, name, library):
        """Links one; what gcc said is beside it where it could not."""
        target = os.path.join(self.programs, name)
        if os.path.exists(target):
            return
        base = name[:-len(MCHECK)] if name.endswith(MCHECK) else name
        objects = []
        for one in filter(None, (base, AUXILIARY.get(base))):
            path, said = self._compile(os.path.join(self.source, "malloc",
                                                    one + ".c"))
            if path is None:
                raise Failure("%s: %s" % (
                    name, "\n".join(said.splitlines()[:6])))
            objects.append(path)
        words = ["gcc", "-o", target] + objects + [library]
        if name != base:
            words.append("-lmcheck")
        if base.startswith("tst-interpose-static"):
            words.append("-static")
        if base.startswith("tst-mallocstate"):
            words.append(output_of(
                ["gcc", "-print-file-name=" + DEBUG]).strip())
        output_of(words)

    def build(self, names):
        os.makedirs(os.path.join(self.folder, "objects"), exist_ok=True)
        os.makedirs(self.programs, exist_ok=True)
        self._copy_headers()
        library = self._build_driver()
        failures = []
        for program in sorted({split(name)[0] for name in names()}):
            try:
                self._build_program(program, library)
            except Failure as failure:
                failures.append(str(failure))
        self._write_mtrace()
        return failures

    def _write_mtrace(self):
        """malloc/mtrace.pl, as the Makefile fills it in."""
        with open(os.path.join(self.source, "malloc", "mtrace.pl")) as file:
            text = file.read()
        for name, value in (("@PERL@", shutil.which("perl") or "perl"),
                            ("@" + 3 * "X" + "@", "18"), ("@VERSION@", ""),
                            ("@PKGVERSION@", ""), ("@REPORT_BUGS_TO@", "")):
            text = text.replace(name, value)
        path = os.path.join(self.programs, "mtrace")
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)

    # ---- running -----------------------------------------------------------

    def all_names(self):
        """By malloc/Makefile, whose variables make itself expands; for making
        the list anew."""
        program = ("-include /dev/null\n"
                   "have-GLIBC_2.23 := yes\nbuild-shared := yes\n"
                   "have-tunables := yes\n"
                   "include $(makefile)\n"
                   "all:\n\t@echo plain $(tests) $(tests-internal)\n"
                   "\t@echo -mcheck $(tests-mcheck)\n"
                   "\t@echo -malloc-check $(tests-malloc-check)\n"
                   "\t@echo -malloc-hugetlb1 $(tests-malloc-hugetlb1)\n"
                   "\t@echo -malloc-hugetlb2 $(tests-malloc-hugetlb2)\n")
        with open(os.path.join(self.source, "malloc", "Makefile")) as file:
            text = file.read()
        text = "\n".join(line for line in text.splitlines()
                         if not line.startswith("include "))
        makefile = os.path.join(self.folder, "malloc.mk")
        with open(makefile, "w") as file:
            file.write(text + "\n")
        asking = os.path.join(self.folder, "ask.mk")
        with open(asking, "w") as file:
            file.write(program)
        said = output_of(["make", "-s", "-f", asking, "all",
                                 "makefile=" + makefile])
        names = []
        for line in said.splitlines():
            variant, *words = line.split()
            ending = "" if variant == "plain" else variant
            names += [word + ending for word in words]
        return sorted(set(names) | set(TRACED))

    def command(self, name):
        program, environment = split(name)
        path = os.path.join(self.programs, program)
        environment = dict(environment, TIMEOUTFACTOR=PATIENCE)
        words = [path]
        if name in TRACED:
            words = ["sh", "-c",
                     'MALLOC_TRACE="$PWD/trace" LD_PRELOAD='
                     '"${LD_PRELOAD:+$LD_PRELOAD:}%s" "$0" && '
                     'exec "$1" "$PWD/trace"' % DEBUG,
                     path, os.path.join(self.programs, "mtrace")]
        return Command(words, seconds=900, **environment)

    @staticmethod
    def outcome(ended):
        if ended.status == REFUSED and "nothing was run" in ended.output:
            return "refused"
        if ended.status == UNSUPPORTED:
            return "unsupported"
        return "pass" if ended.status == 0 else "fail"
