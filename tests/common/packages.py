"""Packages of Debian's, by an apt configuration of our own.

Nothing of the system's is changed: which mirrors serve it is asked, and they
are asked with lists and a cache below a folder. The trust (keys) and the way
there (proxies) are the system's.
"""
import os
import subprocess

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Failure(Exception):
    """What could not be done: the command, and the last that it said."""


def output_of(command, **options):
    """Standard output; what the command said becomes the Failure."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, **options)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure("%s: %s" % (command[0], error)) from error
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = "\n".join(said.splitlines()[-8:])
        raise Failure("%s\n%s" % (" ".join(command), last))
    return said


def archives():
    """(URI, suite, component) of each archive of Debian's in use here."""
    said = output_of(["apt-get", "indextargets", "--format",
                      "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
                      "Created-By: Packages"])
    found = [line.split("|")[1:] for line in said.splitlines()
             if line.startswith("Debian|")]
    if not found:
        raise Failure("apt knows no archive of Debian's: apt-get update first")
    return sorted(set(map(tuple, found)))


class Apt:
    """apt-get with its lists and cache below a folder."""

    def __init__(self, folder, seconds=None, more=()):
        self.folder = os.path.join(folder, "apt")
        self.seconds = seconds
        self.options = []
        for name, value in (
                ("Dir::Etc::sourcelist", self._path("sources.list")),
                ("Dir::Etc::sourceparts", "/dev/null"),
                ("Dir::State::lists", self._path("lists")),
                ("Dir::Cache", self._path("cache")),
                ("APT::Sandbox::User", "")) + tuple(more):
            self.options += ["-o", "%s=%s" % (name, value)]

    def _path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *words, **options):
        return output_of(["apt-get"] + self.options + ["-q"] + list(words),
                         timeout=self.seconds, **options)

    def update(self, kind, sources, option=""):
        """Fetches the lists of `deb` or `deb-src` of (URI, suite, component)."""
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(self._path(name), exist_ok=True)
        signed = "signed-by=%s" % KEYS if os.path.exists(KEYS) else ""
        trust = " ".join(filter(None, (signed, option)))
        with open(self._path("sources.list"), "w") as file:
            for one in sources:
                file.write(" ".join((kind, "[%s]" % trust if trust else "") +
                                    tuple(one)) + "\n")
        self.run("update")
