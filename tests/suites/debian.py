"""Sources as Debian has them, by an apt configuration of our own.

Nothing of the system's is changed: which mirrors serve it is asked, and they
are asked for sources with lists and a cache in the work folder. The trust
(keys) and the way there (proxies) are the system's.
"""
import os
import shutil
import subprocess

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Failure(Exception):
    """What could not be done, in one line for the user."""


def output_of(command, **options):
    """Standard output; what the command said becomes the Failure."""
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False, **options)
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        last = "\n".join(said.splitlines()[-8:])
        raise Failure("%s\n%s" % (" ".join(command), last))
    return said


def installed_version(package):
    return output_of(["dpkg-query", "-W", "-f", "${Version}", package])


def _suites_of_system():
    """(URI, suite, component) of each archive of Debian's in use here."""
    said = output_of(["apt-get", "indextargets", "--format",
                      "$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
                      "Created-By: Packages"])
    found = [line.split("|")[1:] for line in said.splitlines()
             if line.startswith("Debian|")]
    if not found:
        raise Failure("apt knows no archive of Debian's: apt-get update first")
    return sorted(set(map(tuple, found)))


class Archive:
    """Debian's sources; everything of it is below the folder."""

    def __init__(self, folder):
        self.folder = folder
        self.is_fresh = False
        path = os.path.join(folder, "apt")
        self.options = []
        for name, value in (
                ("Dir::Etc::sourcelist", os.path.join(path, "sources.list")),
                ("Dir::Etc::sourceparts", "/dev/null"),
                ("Dir::State::lists", os.path.join(path, "lists")),
                ("Dir::Cache", os.path.join(path, "cache")),
                ("APT::Sandbox::User", "")):
            self.options += ["-o", "%s=%s" % (name, value)]

    def update(self):
        if self.is_fresh:
            return
        path = os.path.join(self.folder, "apt")
        for name in ("lists/partial", "cache/archives/partial"):
            os.makedirs(os.path.join(path, name), exist_ok=True)
        signed = "[signed-by=%s] " % KEYS if os.path.exists(KEYS) else ""
        with open(os.path.join(path, "sources.list"), "w") as file:
            for one in _suites_of_system():
                file.write("deb-src %s%s %s %s\n" % ((signed,) + one))
        output_of(["apt-get"] + self.options + ["-q", "update"])
        self.is_fresh = True

    def unpack(self, package, folder, version=None):
        """The source, with Debian's patches, becomes the folder; returns its
        version. Of several versions the archive's newest, where the wanted
        one is no longer there."""
        note = folder + ".version"
        if os.path.exists(note):
            with open(note) as file:
                return file.read().strip()
        self.update()
        shutil.rmtree(folder, ignore_errors=True)
        downloads = folder + ".download"
        shutil.rmtree(downloads, ignore_errors=True)
        os.makedirs(downloads)
        wanted = "%s=%s" % (package, version) if version else package
        output_of(["apt-get"] + self.options +
                  ["-q", "source", "--download-only", wanted], cwd=downloads)
        description = next(name for name in os.listdir(downloads)
                           if name.endswith(".dsc"))
        output_of(["dpkg-source", "-x", description, folder], cwd=downloads)
        got = description[:-len(".dsc")].split("_", 1)[1]
        with open(note, "w") as file:
            file.write(got + "\n")
        return got
