"""The prose of the course: words that stop a reader, and sentences that are too long."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "data/README.md", "checkpoints/tiny/README.md"]
SOURCES = [*PAGES, *sorted(f"nbs/{path.name}" for path in (ROOT / "nbs").glob("*.ipynb"))]
MAX_WORDS = 40
MAX_MEAN = 20

# Stiff or invented words, and names that this project once used instead of the field's.
WORDS = """
    whom whoever whomever whatever whence wherein thereof thereby hereby henceforth
    lest anew afresh beside whilst amongst upon shall ought oneself unasked
    yardsticks? likeness evidence belief believes? believed judges? shouts? wish(es)? painters?
    nearness burnt.out there.and.back carried.on of.itself as.it.were in.vain
    one.who he.who those.who (is|are|was|were).told (can|cannot|could).be.had
    (go|goes|gone|going|went).on.with (kept|put|moved|set).aside
    (lies?|stands?).(next|beside|on|in|between|for|whole).(to|the|a|an|one)
    (hands?|gives?).(over|back)
""".split()
# "The net fails, for it has not seen this": a cause is `because` or `since`.
CAUSE = r", for (it|they|there|we|you|this|that|the \w+) (is|are|has|have|was|were|can|cannot|does)"
STIFF = re.compile(rf"\b({'|'.join(WORDS)})\b".replace(".", r"\s+") + f"|{CAUSE}", re.I)


def without_code(text: str) -> str:
    """Replace code and formulas by one word, and drop the addresses of links."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"\$\$.+?\$\$|`[^`]*`|\$[^$\n]+\$", "CODE", text, flags=re.S)
    return re.sub(r"\]\([^)]*\)", "]", text)


def docstrings(code: str) -> Iterator[str]:
    """Yield the docstrings of a cell; a cell with a magic has none."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield ast.get_docstring(node) or ""


def messages(code: str) -> Iterator[str]:
    """Yield the strings of a module that have more than one word."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.value


def prose(source: str) -> Iterator[str]:
    """Yield the texts of a page, or of a notebook's cells and docstrings."""
    text = (ROOT / source).read_text(encoding="utf-8")
    if source.endswith(".md"):
        yield without_code(text)
        return
    for cell in json.loads(text)["cells"]:
        text = "".join(cell["source"])
        yield from map(without_code, docstrings(text) if cell["cell_type"] == "code" else [text])


def sentences(text: str) -> Iterator[list[str]]:
    """Yield sentences as words; a table's cell, an item and a documented argument end one."""
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*#]|\d+\.) )|\||<[^>]+>", text):
        line = " ".join(block.split())
        for sentence in re.split(r"(?<=[.!?])[\"*)]*\s+(?=[\"*(\[]*[A-Z0-9]|[\w, ]+: )", line):
            if words := re.findall(r"\S*\w\S*", sentence):
                yield words


@pytest.mark.parametrize("source", SOURCES)
def test_words(source):
    found = [m[0] for text in prose(source) for m in STIFF.finditer(text)]
    assert not found


@pytest.mark.parametrize("path", sorted((ROOT / "fusion_nb").glob("*.py")), ids=lambda p: p.stem)
def test_words_of_messages(path):
    text = "\n".join(messages(path.read_text(encoding="utf-8")))
    assert not [m[0] for m in STIFF.finditer(text)]


@pytest.mark.parametrize("source", SOURCES)
def test_length_of_sentences(source):
    lines = [words for text in prose(source) for words in sentences(text)]
    assert not [" ".join(words) for words in lines if len(words) > MAX_WORDS]
    assert sum(map(len, lines)) <= MAX_MEAN * len(lines)


@pytest.mark.parametrize("source", [s for s in SOURCES if re.match(r"nbs/\d", s)])
def test_summary_names_the_gain(source):
    """A lesson says what it brought, measured, or that it brought nothing."""
    summary = "\n".join(prose(source)).partition("## Summary")[2]
    assert "**Gain over the lessons before:**" in summary


def test_rules_find_what_they_should():
    assert STIFF.search("It decides whom to\ntrust.") and STIFF.search("It stays, for it is sure.")
    assert not STIFF.search("A network for the colours, for example.")
    assert [len(s) for s in sentences("One two. Three!\n- four\n\nfive | six")] == [2, 1, 1, 1, 1]
