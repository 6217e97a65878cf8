"""What documents and docstrings say of files, headings, names and defaults is so."""

import ast
import dataclasses
import importlib
import inspect
import io
import re
import tokenize
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from remotesam import config

ROOT = Path(__file__).parents[1]


def ours(pattern: str) -> list[Path]:
    """Files of the project; environments and caches have a name that begins with a dot."""
    found = (path for path in ROOT.glob(pattern))
    return [p for p in found if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]


DOCUMENTS = sorted([*ours("*.md"), *ours("docs/*.md"), *ours("qgis_plugin/**/*.md")])
MODULES = sorted(
    path
    for folder in ("remotesam", "tests", "benchmarks", "training", "qgis_plugin")
    for path in ours(f"{folder}/**/*.py")
)
OWN = {path.name for folder in (ROOT, ROOT / "remotesam") for path in folder.iterdir() if path.is_dir()}
"""Folders that a path in a text may start with; other paths are in other projects."""
PAPERWORK = re.compile(r"\b(METHODS|PANORAMA|PEERS|SPEED|DESIGN|LAYOUT|STYLE)\b|/work/|\.library\b")
"""Working papers that are not in the repository."""


def comments_and_docstrings(path: Path) -> str:
    """What a module says to its reader, field docstrings included."""
    source = path.read_text(encoding="utf-8")
    said = [
        node.value.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return "\n".join([*said, *(token.string for token in tokens if token.type == tokenize.COMMENT)])


@pytest.fixture(scope="module")
def texts() -> dict[Path, str]:
    """Every document, and of every module what it says to its reader."""
    return {path: path.read_text(encoding="utf-8") for path in DOCUMENTS} | {
        path: comments_and_docstrings(path) for path in MODULES
    }


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_mentioned_headings_exist(texts):
    missing = []
    for path, text in texts.items():
        found = [
            (ROOT / "docs" / name, anchor) for name, anchor in re.findall(r"docs/(\w+\.md)#([\w-]+)", text)
        ]
        if path.suffix == ".md":
            for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
                found.append(((path.parent / name) if name else path, anchor))
        missing += [
            f"{path.relative_to(ROOT)}: {document.name}#{anchor}"
            for document, anchor in found
            if not document.exists() or anchor not in anchors(document)
        ]
    assert not missing


def test_linked_and_mentioned_files_exist(texts):
    files = [f"/{path.relative_to(ROOT)}" for path in (*DOCUMENTS, *MODULES)]
    missing = []
    for path, text in texts.items():
        if path.suffix == ".md":
            links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
            missing += [f"{path.name}: {link}" for link in links if not (path.parent / link).exists()]
        names = re.findall(r"(?<![\w./-])[\w./-]+\.md\b", text)
        names += [
            name
            for name in re.findall(r"(?<![\w./<-])[\w./-]+\.py\b", text)
            if "/" not in name or name.removeprefix("../").split("/")[0] in OWN
        ]
        missing += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in names
            if not any(file.endswith("/" + name.removeprefix("../")) for file in files)
        ]
    assert not missing


def test_no_reference_to_papers_that_are_not_here(texts):
    assert not [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts.items()
        for match in PAPERWORK.finditer(text)
    ]


def test_the_map_of_rooms_is_the_contract_and_its_modules_exist():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    contract = {
        room: len(layers) - place for place, layer in enumerate(layers) for room in layer.split(" | ")
    }
    on_map, missing = {}, []
    text = (ROOT / "docs/design.md").read_text(encoding="utf-8")
    for floor, rooms, holds in re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|", text, flags=re.MULTILINE):
        for room in re.findall(r"`(\w+)/?`", rooms):
            on_map[room] = int(floor)
            folder = ROOT / "remotesam" / room
            missing += [
                f"{room}: {module}"
                for module in re.findall(r"`(\w+)/?`", holds)
                if folder.is_dir() and not ((folder / f"{module}.py").exists() or (folder / module).is_dir())
            ]
    assert on_map == contract
    assert not missing


def resolve(name: str) -> Any:
    """The module, object or field default that a dotted name below `remotesam` stands for.

    Raises:
        AttributeError: there is none.
    """
    parts = name.split(".")
    found: Any = importlib.import_module("remotesam")
    for index, part in enumerate(parts[1:], start=2):
        if inspect.ismodule(found) and not hasattr(found, part):
            try:
                importlib.import_module(".".join(parts[:index]))
            except ModuleNotFoundError:
                raise AttributeError(name) from None
        found = member(found, part)
    return found


def member(owner: Any, name: str) -> Any:
    """An attribute, the default of a field, or the default of a parameter."""
    if dataclasses.is_dataclass(owner):
        for field in dataclasses.fields(owner):
            if field.name == name:
                return field.default
    if inspect.isclass(owner) and issubclass(owner, msgspec.Struct):
        for field in msgspec.structs.fields(owner):
            if field.name == name:
                return field.default
    if hasattr(owner, name):
        return getattr(owner, name)
    if callable(owner) and name in inspect.signature(owner).parameters:
        return inspect.signature(owner).parameters[name].default
    raise AttributeError(name)


def test_mentioned_names_exist(texts):
    missing = []
    for path, text in texts.items():
        for name in set(re.findall(r"(?<![\w./-])remotesam(?:\.[A-Za-z_]\w*)+", text)):
            try:
                resolve(name)
            except AttributeError:
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert not missing


def settings() -> dict[str, Any]:
    """The defaults of all settings by name."""
    return {
        field.name: field.default
        for struct in vars(config).values()
        if inspect.isclass(struct) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
        for field in msgspec.structs.fields(struct)
    }


def stated_defaults() -> list[tuple[str, str]]:
    """Names and defaults of the tables in docs/algorithms.md."""
    stated, in_table = [], False
    for line in (ROOT / "docs/algorithms.md").read_text(encoding="utf-8").splitlines():
        in_table = line.startswith("| name | default |") or (in_table and line.startswith("|"))
        if in_table and (cell := re.match(r"\| `([\w.]+)` \| ([^|]+) \|", line)):
            stated.append((cell[1], cell[2].strip()))
    return stated


@pytest.mark.parametrize(("name", "stated"), stated_defaults())
def test_defaults_of_the_algorithms_are_those_of_the_code(name, stated):
    value = resolve(f"remotesam.{name}") if "." in name else settings()[name]
    if isinstance(value, tuple):
        (value,) = value
    if isinstance(value, bool) or value is None or isinstance(value, str):
        assert str(value).lower() == stated
    else:
        assert float(stated) == pytest.approx(value, rel=1e-3)


def test_the_tables_of_defaults_are_found():
    assert len(stated_defaults()) > 60
