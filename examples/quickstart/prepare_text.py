"""Makes the quickstart's text out of Debian packages: `prepare_text.py --output DIRECTORY PACKAGE.deb...`

Writes train.txt, heldout.txt and text.json (bytes of both, and what `gzip -9` and `xz -9` need for the held-out text).
The same packages give the same bytes. A package is a .deb file (`apt-get download NAME`) or a directory it was unpacked
to. What the known packages contain, and under which licence (their /usr/share/doc/NAME/copyright):

debian-handbook       The Debian Administrator's Handbook   GPL-2+ or CC-BY-SA-3.0+
debian-reference-en   Debian Reference                      GPL-2+
fortunes              short quotations                      BSD, and the notes on single files in its copyright
"""

import argparse
import gzip
import json
import lzma
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

PAGES = {
    "debian-handbook": "usr/share/doc/debian-handbook/html/en-US/*.html",
    "debian-reference-en": "usr/share/debian-reference/*.en.html",
    "fortunes": "usr/share/games/fortunes/*",
}
DRAWINGS = frozenset({"art", "ascii-art", "translate-me"})  # fortunes that are no sentences

BLOCK_BYTES = 2000
HELD_OUT_EVERY = 25

PARAGRAPHS = frozenset(
    {"address", "blockquote", "body", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ol", "p"}
    | {"pre", "table", "tr", "ul"}
)
CELLS = frozenset({"td", "th"})
SKIPPED_TAGS = frozenset({"head", "script", "style"})
VOID_TAGS = frozenset({"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})
SKIPPED_MARKS = frozenset({"banner", "docnav", "navheader", "navfooter", "toc", "list-of-tables"})


class Page(HTMLParser):
    """The paragraphs of one page, without its navigation."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.paragraphs: list[str] = []
        self._text: list[str] = []
        self._open: list[tuple[str, bool]] = []  # tag, and whether it hides what is in it
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A paragraph begins, or something that is not to be read."""
        if tag in VOID_TAGS:
            self._text.append("\n" if tag == "br" else "")
            return
        if tag in PARAGRAPHS:
            self._end_paragraph()
        self._verbatim += tag == "pre"
        values = dict(attrs)
        marks = {values.get("id") or "", *(values.get("class") or "").split()}
        site_title = values.get("id") == "title"
        hidden = tag in SKIPPED_TAGS or site_title or not marks.isdisjoint(SKIPPED_MARKS)
        self._open.append((tag, hidden))

    def handle_endtag(self, tag: str) -> None:
        """A paragraph ends."""
        if tag in PARAGRAPHS:
            self._end_paragraph()
        if tag in CELLS:
            self._text.append(" | ")
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass
        self._verbatim = sum(name == "pre" for name, _ in self._open)

    def handle_data(self, data: str) -> None:
        """Text."""
        if not any(hidden for _, hidden in self._open):
            self._text.append(data if self._verbatim else re.sub(r"\s+", " ", data))

    def _end_paragraph(self) -> None:
        text = "".join(self._text)
        self._text = []
        if self._verbatim:
            text = "\n".join(line.rstrip() for line in text.strip("\n").split("\n"))
        else:
            text = re.sub(r" *\n *", "\n", re.sub(r" +", " ", text)).strip(" |\n")
        if text.strip():
            self.paragraphs.append(text)


def html_paragraphs(html: str) -> list[str]:
    """The text of a page, a string for each paragraph, heading, list item, table row or listing."""
    page = Page()
    page.feed(html)
    page.close()
    return page.paragraphs


def fortunes(text: str) -> list[str]:
    """The entries of a file of fortunes."""
    text = re.sub(r".\x08", "", text).replace("\t", "    ")
    return [entry.strip("\n") for entry in re.split(r"(?m)^%$\n?", text) if entry.strip()]


def package_files(package: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of a package's regular files, sorted by path; no link is followed."""
    if package.is_dir():
        for path in sorted(path for path in package.rglob("*") if path.is_file() and not path.is_symlink()):
            yield path.relative_to(package).as_posix(), path.read_bytes()
        return
    with (
        subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpack,
        tarfile.open(fileobj=unpack.stdout, mode="r|") as archive,
    ):
        files = {
            member.name.removeprefix("./"): content.read()
            for member in archive
            if member.isreg() and _wanted(member.name.removeprefix("./")) and (content := archive.extractfile(member))
        }
    if unpack.returncode:
        raise SystemExit(f"{package} is not a readable .deb file")
    yield from sorted(files.items())


def documents(package: Path) -> list[list[str]]:
    """The documents of a package, each a list of paragraphs."""
    found = []
    for path, content in package_files(package):
        if not _wanted(path):
            continue
        text = content.decode("utf-8", errors="replace")
        found.append(html_paragraphs(text) if path.endswith(".html") else fortunes(text))
    return [document for document in found if document]


def blocks(document: list[str]) -> Iterator[str]:
    """Runs of whole paragraphs of about BLOCK_BYTES."""
    block: list[str] = []
    for paragraph in document:
        block.append(paragraph)
        if sum(len(part.encode()) for part in block) >= BLOCK_BYTES:
            yield "\n\n".join(block)
            block = []
    if block:
        yield "\n\n".join(block)


def split(texts: list[list[str]]) -> tuple[str, str]:
    """What is learned from and what is held out: every HELD_OUT_EVERY-th block; paragraphs seen before are left out."""
    seen: set[str] = set()
    kept: dict[bool, list[str]] = {True: [], False: []}
    number = 0
    for document in texts:
        fresh = [paragraph for paragraph in document if len(paragraph) < 80 or paragraph not in seen]
        seen.update(fresh)
        for block in blocks(fresh):
            number += 1
            kept[number % HELD_OUT_EVERY == 0].append(block)
    return "\n\n".join(kept[False]) + "\n", "\n\n".join(kept[True]) + "\n"


def _wanted(path: str) -> bool:
    pure = PurePosixPath(path)
    return any(pure.match(pattern) for pattern in PAGES.values()) and (
        pure.suffix == ".html" or (not pure.suffix and pure.name not in DRAWINGS)
    )


def main(arguments: list[str]) -> None:
    """Write the text and say how much it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="directory to write to")
    parser.add_argument("packages", type=Path, nargs="+", help=".deb files, or directories they were unpacked to")
    options = parser.parse_args(arguments)
    texts = [document for package in options.packages for document in documents(package)]
    if not texts:
        raise SystemExit(f"none of the packages has text at {', '.join(PAGES.values())}")
    train, heldout = (text.encode() for text in split(texts))
    compressed = {"gzip": gzip.compress(heldout, 9, mtime=0), "xz": lzma.compress(heldout, preset=9)}
    bits = {name: round(len(data) * 8 / len(heldout), 3) for name, data in compressed.items()}
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "train.txt").write_bytes(train)
    (options.output / "heldout.txt").write_bytes(heldout)
    facts = {"train": {"bytes": len(train)}, "heldout": {"bytes": len(heldout), **bits}}
    (options.output / "text.json").write_text(json.dumps(facts, indent=2) + "\n")
    sys.stdout.write(
        f"train.txt    {len(train):>9,} bytes\n"
        f"heldout.txt  {len(heldout):>9,} bytes; gzip -9 {bits['gzip']:.3f}, xz -9 {bits['xz']:.3f} bits per byte\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
