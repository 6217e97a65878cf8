"""What a page is made of, read with the standard library's parser: its elements, its words, its policy."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser

HOSTILE = (
    "</title></script></style><script>document.title='ran'</script>",
    "<img src=x onerror=\"document.title='ran'\">",
    "\"' onload='document.title=1' x=\"",
    "<!--<script>",
    "{{ 7 * 7 }}{% raw %}",
    "line\u2028end & &lt;b&gt;",
)
"""Text that harms a page which does not escape it."""


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        """Names of each element and its attributes, in order."""
        self.attributes: list[tuple[str, str, str]] = []
        """Element, attribute and value."""
        self.words: list[str] = []
        """Pieces of text, scripts and style sheets among them."""
        self.inside: dict[str, list[str]] = {"style": [], "script": [], "data": []}
        """Contents of style and script elements; `data` are scripts that are not run."""
        self._kind = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attributes)))
        self.attributes += [(tag, name, value or "") for name, value in attributes]
        self._kind = "data" if ("type", "application/json") in attributes else tag
        if self._kind in self.inside:
            self.inside[self._kind].append("")

    def handle_endtag(self, tag: str) -> None:
        self._kind = ""

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._kind in self.inside:
            self.inside[self._kind][-1] += data

    @property
    def text(self) -> str:
        return " ".join(self.words)

    @property
    def policy(self) -> dict[str, list[str]]:
        """Directive → its sources."""
        held = [value for tag, name, value in self.attributes if (tag, name) == ("meta", "content")]
        (policy,) = [value for value in held if "default-src" in value]
        return {name: sources for name, *sources in (part.split() for part in policy.split(";"))}


def assert_closed(page: Page) -> None:
    """The policy lets in exactly the page's own style and script, and nothing asks for more."""
    policy = page.policy
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
    assert policy["img-src"] == ["data:"]
    for directive, element in (("style-src", "style"), ("script-src", "script")):
        digests = [hashlib.sha256(text.encode()).digest() for text in page.inside[element]]
        expected = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
        assert policy.get(directive, []) == expected
    names = [name for _, name, _ in page.attributes]
    assert not [name for name in names if name.startswith("on") or name == "style"]
    links = [value for _, name, value in page.attributes if name in ("src", "href", "action")]
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
    # The policy rules only what comes after it.
    first = [tag for tag, _ in page.elements[:5]]
    assert first[:4] == ["html", "head", "meta", "meta"]
    assert page.elements[3] == ("meta", ("http-equiv", "content"))
