"""Build the course as a static site: `python tools/site.py [FOLDER]`; the default is `_site`.

Nothing runs: Sphinx shows the stored outputs of the lessons. Search works without a server.
A warning ends the build with exit code 1. Needs the extra `site`: `pip install -e ".[site]"`.
"""

import json
import re
import sys
import tempfile
from pathlib import Path

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = {
    "project": "fusion_nb",
    "copyright": "The fusion_nb authors",
    "extensions": ["myst_nb", "sphinx.ext.autodoc", __name__],
    "html_theme": "furo",
    "html_title": "fusion_nb",
    "html_show_sourcelink": False,
    "html_show_search_summary": False,  # without a server a page cannot fetch another
    "html_math_renderer": "mathml",
    "nb_execution_mode": "off",
    "nb_mime_priority_overrides": [("html", "application/vnd.jupyter.widget-view+json", None)],
    "myst_enable_extensions": ["dollarmath", "amsmath"],
    "myst_heading_anchors": 3,
    "toc_object_entries": False,
    "autodoc_member_order": "bysource",
    "autodoc_typehints_format": "short",
    "autodoc_default_options": {"members": True, "undoc-members": False},
    "exclude_patterns": ["_build"],
    "suppress_warnings": ["misc.highlighting_failure"],
}


def adapt_cell(cell: dict) -> None:
    """Drop a cell's directives, fold what JupyterLab folds, and list the glossary's terms."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "code":
        text = re.sub(r"\A(#\|.*\n?)+", "", text)
        folded = cell["metadata"].get("jupyter", {}).get("source_hidden")
        cell["metadata"]["tags"] = ["hide-cell"] if folded else []
    elif text.startswith("## Terms"):
        rows = re.findall(r"^\| (?!term )(.+) \| (.+) \| (.+) \|$", text, re.M)
        terms = "\n\n".join(f"{term}\n  {meaning} ({lesson})" for term, meaning, lesson in rows)
        text = f"## Terms\n\n```{{glossary}}\n{terms}\n```"
    cell["source"] = text


def write_sources(folder: Path) -> None:
    """Write the lessons, and a page of signatures and docstrings for each module."""
    names = sorted(path.stem for path in (ROOT / "nbs").glob("*.ipynb"))
    names.sort(key=lambda name: not name[0].isdigit())
    modules = []
    for name in names:
        notebook = json.loads((ROOT / "nbs" / f"{name}.ipynb").read_text("utf-8"))
        modules += re.findall(r"#\| default_exp (\w+)", json.dumps(notebook))
        for cell in notebook["cells"]:
            adapt_cell(cell)
        if name == "index":
            pages = "\n".join([*(n for n in names if n != "index"), "api/index"])
            tree = f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{pages}\n```"
            notebook["cells"][0]["source"] += "\n\n" + tree
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook), "utf-8")
    (folder / "api").mkdir()
    listed = "\n".join(f"   {name}" for name in modules)
    contents = f"API\n===\n\n.. toctree::\n   :maxdepth: 1\n\n{listed}\n"
    (folder / "api" / "index.rst").write_text(contents)
    for name in modules:
        title = f"{name}\n{'=' * len(name)}\n\n.. automodule:: fusion_nb.{name}\n"
        (folder / "api" / f"{name}.rst").write_text(title)


def code_in_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Turn the `code` of our docstrings, which are Markdown, into reStructuredText's ``code``."""
    lines[:] = [re.sub(r"`+([^`]+)`+", r"``\1``", line) for line in lines]


def write_formula(writer, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers draw by themselves; MathJax needs a network."""
    formula = re.sub(r"\\[bB]igg?[lr]?(?![a-zA-Z])", "", node.astext())  # brackets grow anyway
    writer.body.append(tex2mathml(formula, as_block=isinstance(node, nodes.math_block)))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Add both to Sphinx; this file is one of its extensions."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("autodoc-process-docstring", code_in_docstring)


def build(target: Path) -> int:
    """Build the site and return Sphinx's exit code."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name)
        write_sources(source)
        cache = source / "_build"
        app = Sphinx(source, None, target, cache, "html", SETTINGS, exception_on_warning=False)
        app.build()
    return int(app._warncount > 0)


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "_site").resolve()))
