"""A page as a browser shows it: headless Chromium's DOM, as a small tree."""
import html.parser
import os
import shutil
import subprocess
import tempfile

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser",
         "google-chrome")
VOID = {"meta", "link", "img", "br", "input", "hr", "col", "wbr", "source"}
TIMEOUT = 30  # an alert would wait for ever


def find():
    """The browser's path; None: there is none."""
    chosen = os.environ.get("CHROMIUM")
    for name in (chosen,) if chosen else NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    return None


class Element:
    """A tag with what is in it: elements and texts."""

    def __init__(self, tag, attributes):
        self.tag = tag
        self.attributes = attributes
        self.children = []

    def text(self):
        """All text in it; figures are kept from their units by a blank."""
        parts = (child if isinstance(child, str) else child.text()
                 for child in self.children)
        return "".join(parts).replace("\u00a0", " ").replace("\u202f", " ")

    def all(self, tag=None, **attributes):
        """The elements in it of a tag and attributes, in order."""
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            if tag in (None, child.tag) and all(
                    child.attributes.get(name) == value
                    for name, value in attributes.items()):
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    def first(self, tag=None, **attributes):
        found = self.all(tag, **attributes)
        if not found:
            raise AssertionError("no <%s> with %r" % (tag, attributes))
        return found[0]

    def value(self):
        """The exact number of a cell's <data>, or its text."""
        data = self.all("data")
        return int(data[0].attributes["value"]) if data else self.text()


class Builder(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = Element("#document", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if any(element.tag == tag for element in self.open):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data):
        self.open[-1].children.append(data)


class Page:
    """What a browser made of a file: its tree, and what it complained of."""

    def __init__(self, path, hash_=""):
        with tempfile.TemporaryDirectory() as profile:
            shown = subprocess.run(
                [find(), "--headless", "--no-sandbox", "--disable-gpu",
                 "--user-data-dir=" + profile, "--window-size=1280,1000",
                 "--enable-logging=stderr", "--v=0",
                 "--virtual-time-budget=3000", "--dump-dom",
                 "file://" + os.path.abspath(path) + hash_],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                timeout=TIMEOUT, check=True)
        builder = Builder()
        builder.feed(shown.stdout.decode())
        self.root = builder.root
        log = shown.stderr.decode(errors="replace").splitlines()
        self.complaints = [line for line in log if ":CONSOLE" in line]

    def id(self, name):
        return self.root.first(id=name)

    def table(self, label):
        """The rows of a table, each {head: value}, the total left out."""
        region = self.root.first("div", **{"aria-label": "Table: " + label})
        heads = [head.text().rstrip("↓↕") for head in region.all("th")]
        rows = []
        for row in region.first("tbody").all("tr"):
            if row.attributes.get("class") != "tot":
                cells = [cell.value() for cell in row.all("td")]
                rows.append(dict(zip(heads, cells)))
        return rows
