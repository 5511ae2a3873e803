"""Sources as Debian has them, unpacked in a work folder."""
import os
import shutil

from packages import Apt, archives, output_of


def installed_version(package):
    return output_of(["dpkg-query", "-W", "-f", "${Version}", package])


class Archive:
    """Debian's sources; everything of it is below the folder."""

    def __init__(self, folder):
        self.apt = Apt(folder)
        self.is_fresh = False

    def update(self):
        if not self.is_fresh:
            self.apt.update("deb-src", archives())
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
        self.apt.run("source", "--download-only", wanted, cwd=downloads)
        description = next(name for name in os.listdir(downloads)
                           if name.endswith(".dsc"))
        output_of(["dpkg-source", "-x", description, folder], cwd=downloads)
        got = description[:-len(".dsc")].split("_", 1)[1]
        with open(note, "w") as file:
            file.write(got + "\n")
        return got
