"""Interpreters of Debian's other suites, unpacked beside the build.

apt fetches them by a configuration of our own, with lists and a cache below the
folder; nothing of the system's is changed. They are static programs. Those of
sid bring the C library that they were built for: a copy names its loader, and
is begun by a script that says where its libraries are.
"""
import glob
import os
import shutil
import struct
import subprocess

KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = ("python%s-minimal", "libpython%s-minimal", "libpython%s-stdlib")
# Suite: versions, and what else they need of it.
SUITES = {
    "bullseye": (("2.7", "3.9"), ()),
    "sid": (("3.13", "3.14", "3.15"),
            ("libc6", "libexpat1", "libzstd1", "zlib1g")),
}
SECONDS = 120  # for all that apt does at once

PT_INTERP = 3
HEADERS_AT, HEADER_BYTES, N_HEADERS_AT = 32, 56, 56  # of an ELF64 file


class Failure(Exception):
    """What could not be done, in one line."""


def run(command, **options):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False,
                              timeout=SECONDS, **options)
    except (OSError, subprocess.SubprocessError) as error:
        raise Failure("%s: %s" % (command[0], type(error).__name__)) from error
    if done.returncode != 0:
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        raise Failure("%s: %s" % (command[0], lines[-1] if lines else "?"))


def mirror():
    """The one that the system itself uses."""
    said = subprocess.run(
        ("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)",
         "Created-By: Packages"), stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, check=False).stdout.decode()
    for line in sorted(set(said.splitlines())):
        origin, _, uri = line.partition("|")
        if origin == "Debian" and "security" not in uri:
            return uri.rstrip("/")
    return MIRROR


def options_of(folder):
    path = os.path.join(folder, "apt")
    for name in ("lists/partial", "cache/archives/partial"):
        os.makedirs(os.path.join(path, name), exist_ok=True)
    signed = "signed-by=%s " % KEYS if os.path.exists(KEYS) else ""
    with open(os.path.join(path, "sources.list"), "w") as file:
        for suite in SUITES:
            file.write("deb [%starget=Packages] %s %s main\n" % (
                signed, mirror(), suite))
    options = []
    for name, value in (
            ("Dir::Etc::sourcelist", os.path.join(path, "sources.list")),
            ("Dir::Etc::sourceparts", "/dev/null"),
            ("Dir::State::lists", os.path.join(path, "lists")),
            ("Dir::State::status", "/dev/null"),
            ("Dir::Cache", os.path.join(path, "cache")),
            ("Acquire::Languages", "none"),
            ("Acquire::Retries", "0"),
            ("Acquire::http::Timeout", "10"),
            ("APT::Sandbox::User", "")):
        options += ["-o", "%s=%s" % (name, value)]
    return options


def root_of(folder, suite):
    return os.path.join(folder, suite)


def name_loader(source, path, loader):
    """A copy whose loader is this one: the kernel reads its name in the file,
    wherever it stands."""
    with open(source, "rb") as file:
        image = bytearray(file.read())
    first, = struct.unpack_from("<Q", image, HEADERS_AT)
    n, = struct.unpack_from("<H", image, N_HEADERS_AT)
    for at in range(first, first + n * HEADER_BYTES, HEADER_BYTES):
        if struct.unpack_from("<I", image, at)[0] == PT_INTERP:
            name = loader.encode() + b"\0"
            struct.pack_into("<Q", image, at + 8, len(image))
            struct.pack_into("<2Q", image, at + 32, len(name), len(name))
            image += name
    with open(path, "wb") as file:
        file.write(image)
    os.chmod(path, 0o755)


def with_own_loader(root, version):
    """A script that begins the interpreter with the suite's own library."""
    libraries = os.path.join(root, "usr", "lib", "x86_64-linux-gnu")
    program = os.path.join(root, "usr", "bin", "own-python" + version)
    name_loader(os.path.join(root, "usr", "bin", "python" + version), program,
                os.path.join(libraries, "ld-linux-x86-64.so.2"))
    script = os.path.join(root, "python" + version)
    with open(script, "w") as file:
        file.write("#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s \"$@\"\n" %
                   (libraries, program))
    os.chmod(script, 0o755)
    return script


def unpack(folder, suite, options):
    versions, more = SUITES[suite]
    root = root_of(folder, suite)
    downloads = os.path.join(folder, "download")
    shutil.rmtree(downloads, ignore_errors=True)
    os.makedirs(downloads)
    names = [one % version for version in versions for one in PACKAGES]
    run(["apt-get"] + options + ["-q", "download"] +
        ["%s/%s" % (name, suite) for name in names + list(more)],
        cwd=downloads)
    for package in glob.glob(os.path.join(downloads, "*.deb")):
        run(("dpkg", "-x", package, root))
    shutil.rmtree(downloads)


def path_of(folder, suite, version):
    root = root_of(folder, suite)
    if SUITES[suite][1]:
        return with_own_loader(root, version)
    return os.path.join(root, "usr", "bin", "python" + version)


def fetch(folder):
    """([path of an interpreter, ...], [what is missing and why, ...])"""
    os.makedirs(folder, exist_ok=True)
    wanted = [suite for suite in SUITES
              if not os.path.exists(os.path.join(folder, suite + ".done"))]
    missing = []
    try:
        options = options_of(folder) if wanted else []
        if wanted:
            run(["apt-get"] + options + ["-q", "update"])
    except (OSError, Failure) as error:
        return paths(folder), ["%s: %s" % (" ".join(wanted), error)]
    for suite in wanted:
        try:
            unpack(folder, suite, options)
            with open(os.path.join(folder, suite + ".done"), "w"):
                pass
        except (OSError, Failure) as error:
            missing.append("%s: %s" % (suite, error))
    return paths(folder), missing


def paths(folder):
    return [path_of(folder, suite, version)
            for suite, (versions, _) in SUITES.items()
            if os.path.exists(os.path.join(folder, suite + ".done"))
            for version in versions]
