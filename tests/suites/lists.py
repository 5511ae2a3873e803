"""What is known of each test: the lists beside this file, and their format.

    NAME <tab> BARE <tab> PRELOADED [<tab> REASON]

BARE is how the test ends without us, PRELOADED how under watch and under exact:
`same`, or an outcome, or `-` for one that is not run at all under the preload.
What is not `pass` and `same` has its reason. Lines that begin with # tell what
was run: `# source VERSION` is read.
"""
import os

HERE = os.path.dirname(os.path.abspath(__file__))


class Entry:
    def __init__(self, name, bare, preloaded="same", reason=""):
        self.name = name
        self.bare = bare
        self.preloaded = preloaded
        self.reason = reason

    def expected(self, way):
        if way == "bare" or self.preloaded == "same":
            return self.bare
        return self.preloaded

    def is_run(self, way):
        return self.expected(way) != "-"


class List:
    def __init__(self, name):
        self.path = os.path.join(HERE, name + ".list")
        self.entries = {}
        self.comments = []
        if os.path.exists(self.path):
            with open(self.path) as file:
                for line in file.read().splitlines():
                    self._read(line)

    def _read(self, line):
        if line.startswith("#"):
            self.comments.append(line)
        elif line:
            entry = Entry(*line.split("\t"))
            self.entries[entry.name] = entry

    def version(self):
        for line in self.comments:
            if line.startswith("# source "):
                return line.split()[2]
        return None

    def write(self, version):
        """Comments but for the version, reasons and exceptions are kept."""
        kept = [line for line in self.comments
                if not line.startswith("# source ")]
        with open(self.path, "w") as file:
            for line in kept + ["# source %s" % version]:
                file.write(line + "\n")
            for entry in self.entries.values():
                words = [entry.name, entry.bare, entry.preloaded]
                if entry.reason:
                    words.append(entry.reason)
                file.write("\t".join(words) + "\n")
