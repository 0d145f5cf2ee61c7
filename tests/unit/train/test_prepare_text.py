"""The quickstart's text: what is taken from pages and fortunes, and what is held out."""

import json
import subprocess
import sys
from pathlib import Path

from examples.quickstart import prepare_text

PAGE = """<html><head><title>hidden</title></head><body><p id="title">hidden</p>
<ul class="docnav"><li>hidden</li></ul>
<h1>9.9. Quotas</h1><div class="para">A  <code>soft</code>
 limit<br/>can be &#8220;exceeded&#8221;.</div><pre class="screen"># quota -v
  two   columns
</pre><ul><li><p>first</p></li><li>second</li></ul>
<table><tr><th>disk</th><th>size</th></tr><tr><td>sda</td><td>4 GB</td></tr></table>
<div class="toc"><a>hidden</a></div></body></html>"""


def test_a_page_gives_its_paragraphs_without_navigation() -> None:
    assert prepare_text.html_paragraphs(PAGE) == [
        "9.9. Quotas",
        "A soft limit\ncan be “exceeded”.",
        "# quota -v\n  two   columns",
        "first",
        "second",
        "disk | size",
        "sda | 4 GB",
    ]


def test_packages_give_the_same_disjoint_texts_each_time(tmp_path: Path) -> None:
    package = tmp_path / "package"
    pages = package / "usr/share/doc/debian-handbook/html/en-US"
    pages.mkdir(parents=True)
    for page in range(4):
        body = "".join(f"<p>Paragraph {n} of page {page} says {'something longer ' * 9}.</p>" for n in range(150))
        (pages / f"{page}.html").write_text(f"<html><body>{body}</body></html>")
    cookies = package / "usr/share/games/fortunes"
    cookies.mkdir(parents=True)
    (cookies / "wise").write_text("Be brief.\n%\nBe\tkind.\n\t\t-- Anonymous\n%\n")
    (cookies / "wise.dat").write_bytes(b"\0index")
    (cookies / "art").write_text("(drawing)\n%\n")

    def prepare(name: str) -> list[bytes]:
        output = tmp_path / name
        command = [sys.executable, prepare_text.__file__, "--output", str(output), str(package)]
        subprocess.run(command, check=True, capture_output=True)
        return [(output / file).read_bytes() for file in ("train.txt", "heldout.txt", "text.json")]

    train, heldout, facts = prepare("one")
    assert prepare("two") == [train, heldout, facts]
    assert b"Be brief." in train
    assert b"Be    kind.\n        -- Anonymous" in train
    assert b"drawing" not in train + heldout
    assert b"index" not in train + heldout
    held = set(heldout.decode().strip().split("\n\n"))
    assert held
    assert held.isdisjoint(train.decode().strip().split("\n\n"))
    assert len(held) + len(set(train.decode().strip().split("\n\n"))) == 4 * 150 + 2
    found = json.loads(facts)
    assert found["heldout"]["bytes"] == len(heldout)
    assert 0 < found["heldout"]["xz"] < 8
