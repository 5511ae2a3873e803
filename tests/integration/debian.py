"""Interpreters of Debian's other suites, unpacked beside the build.

They are static programs. Those of sid bring the C library that they were built
for: a copy names its loader, and is begun by a script that says where its
libraries are.
"""
import glob
import os
import shutil
import struct

from packages import Apt, Failure, archives, output_of

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


def apt_of(folder):
    return Apt(folder, SECONDS, (
        ("Dir::State::status", "/dev/null"),
        ("Acquire::Languages", "none"),
        ("Acquire::Retries", "0"),
        ("Acquire::http::Timeout", "10")))


def mirror():
    """The one that the system itself uses."""
    try:
        uris = [uri for uri, _, _ in archives() if "security" not in uri]
    except Failure:
        uris = []
    return uris[0].rstrip("/") if uris else MIRROR


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


def unpack(folder, suite, apt):
    versions, more = SUITES[suite]
    root = root_of(folder, suite)
    downloads = os.path.join(folder, "download")
    shutil.rmtree(downloads, ignore_errors=True)
    os.makedirs(downloads)
    names = [one % version for version in versions for one in PACKAGES]
    apt.run("download", *["%s/%s" % (name, suite)
                          for name in names + list(more)], cwd=downloads)
    for package in glob.glob(os.path.join(downloads, "*.deb")):
        output_of(["dpkg", "-x", package, root])
    shutil.rmtree(downloads)


def path_of(folder, suite, version):
    root = root_of(folder, suite)
    if SUITES[suite][1]:
        return with_own_loader(root, version)
    return os.path.join(root, "usr", "bin", "python" + version)


def last_line(error):
    return str(error).strip().splitlines()[-1]


def fetch(folder):
    """([path of an interpreter, ...], [what is missing and why, ...])"""
    os.makedirs(folder, exist_ok=True)
    wanted = [suite for suite in SUITES
              if not os.path.exists(os.path.join(folder, suite + ".done"))]
    missing = []
    apt = apt_of(folder)
    try:
        if wanted:
            apt.update("deb", [(mirror(), suite, "main") for suite in SUITES],
                       "target=Packages")
    except (OSError, Failure) as error:
        return paths(folder), ["%s: %s" % (" ".join(wanted), last_line(error))]
    for suite in wanted:
        try:
            unpack(folder, suite, apt)
            with open(os.path.join(folder, suite + ".done"), "w"):
                pass
        except (OSError, Failure) as error:
            missing.append("%s: %s" % (suite, last_line(error)))
    return paths(folder), missing


def paths(folder):
    return [path_of(folder, suite, version)
            for suite, (versions, _) in SUITES.items()
            if os.path.exists(os.path.join(folder, suite + ".done"))
            for version in versions]
