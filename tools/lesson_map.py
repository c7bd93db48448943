"""Write the table of lessons into README.md and nbs/index.ipynb, from the lessons themselves.

A lesson's title and the line under it say what it is; `default_exp` names its module; its minutes
are in nbs/minutes.json. `--check` writes nothing and exits 1 where a table is out of date.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "00": "I · Colour and motion",
    "05": "II · The three networks",
    "09": "III · The system",
    "12": "IV · Training",
    "15": "V · Speed",
    "16": "VI · Films",
    "20": "VII · Scale",
}
BEGIN, END = "<!-- lesson map -->", "<!-- end of lesson map -->"


def lessons() -> list[dict]:
    "Title, first sentence, module and file of each lesson, in reading order."
    rows = []
    for path in sorted((ROOT / "nbs").glob("[0-9]*.ipynb")):
        cells = [
            (c["cell_type"], "".join(c["source"])) for c in json.loads(path.read_text())["cells"]
        ]
        title, _, rest = next(s for kind, s in cells if kind == "markdown").partition("\n")
        module = next(re.search(r"default_exp (\w+)", s)[1] for _, s in cells if "default_exp" in s)
        promise = rest.strip().split("\n\n")[0].replace("\n", " ")
        promise = re.sub(r"(?i)^.*?\byou (can|will be able to) ", "", promise)
        promise = promise[0].upper() + promise[1:]
        rows.append(
            {"file": path.name, "title": title.lstrip("# "), "builds": promise, "module": module}
        )
    return rows


def table(folder: str) -> str:
    "The lesson map in Markdown; links are relative to `folder`."
    minutes = json.loads((ROOT / "nbs" / "minutes.json").read_text())
    lines = ["| lesson | after it you can | module | minutes |", "|---|---|---|---|"]
    for r in lessons():
        if r["file"][:2] in PARTS:
            lines.append(f"| **{PARTS[r['file'][:2]]}** | | | |")
        name = re.sub(r"^(\d+\w?)\s*[·:.]?\s*", r"\1 · ", r["title"])
        lines.append(
            f"| [{name}]({folder}{r['file']}) | {r['builds']} | `{r['module']}.py` "
            f"| {minutes[r['file'].removesuffix('.ipynb')]:.1f} |"
        )
    return "\n".join(lines)


def with_map(text: str, folder: str) -> str:
    "The text with the table between its two marks."
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{table(folder)}\n\n{END}{rest.split(END)[1]}"


def main(check: bool) -> int:
    readme, index = ROOT / "README.md", ROOT / "nbs" / "index.ipynb"
    notebook = json.loads(index.read_text())
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if BEGIN in source:
            cell["source"] = with_map(source, "").splitlines(keepends=True)
    new = {
        readme: with_map(readme.read_text(), "nbs/"),
        index: json.dumps(notebook, indent=1, ensure_ascii=False) + "\n",
    }
    stale = [path for path, text in new.items() if path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(new[path])
        print(f"{path.relative_to(ROOT)}: {'out of date' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
