"""A compilation by cc1: one of our own sources, many times in one file.

Every copy has names of its own. cc1 is gcc's compiler proper, which asks malloc
for all of its tables.
"""
import os
import re
import shutil

from rig import Command, Failure, output_of

SOURCE = "collector/model/livemap.c"


def own_names(text):
    """What a copy may not share with another: tags, and all other names."""
    tags = set(re.findall(r"^(?:struct|enum) (\w+) \{", text, re.MULTILINE))
    others = set(re.findall(r"^(\w+)\(", text, re.MULTILINE))
    for body in re.findall(r"^enum \{(.*?)^\};", text,
                           re.MULTILINE | re.DOTALL):
        others.update(re.findall(r"^ +(\w+)", body, re.MULTILINE))
    return tags, others


def own_text(preprocessed):
    """What the headers say, and what the source says itself."""
    pieces = {True: [], False: []}
    is_own = False
    for line in preprocessed.split("\n"):
        marker = re.match(r'# \d+ "([^"]*)"', line)
        if marker:
            is_own = marker.group(1).endswith(SOURCE)
        else:
            pieces[is_own].append(line)
    return "\n".join(pieces[False]), "\n".join(pieces[True])


def copied(preprocessed, n_copies):
    """The headers once, and the rest n_copies times."""
    headers, own = own_text(preprocessed)
    tags, others = own_names(own)
    word = re.compile(r"\b(struct |enum |)(\w+)\b")

    def copy(i):
        def renamed(found):
            names = tags if found.group(1) else others
            is_shared = found.group(2) not in names
            return found.group(0) + ("" if is_shared else "_%d" % i)
        return word.sub(renamed, own)

    return "\n".join([headers] + [copy(i) for i in range(n_copies)])


def command(top, directory, n_copies):
    """Compiles what it first writes into the directory."""
    gcc = shutil.which("gcc")
    if gcc is None:
        raise Failure("no gcc")
    text = output_of([gcc, "-E", "-std=gnu17", "-D_GNU_SOURCE", "-I", top,
                      os.path.join(top, SOURCE)])
    path = os.path.join(directory, "cc1.i")
    with open(path, "w") as file:
        file.write(copied(text, n_copies))
    cc1 = output_of([gcc, "-print-prog-name=cc1"]).strip()
    return Command("cc1", [cc1, "-quiet", "-fpreprocessed", "-O2",
                           "-std=gnu17", path, "-o", os.devnull],
                   least_births=1000)
