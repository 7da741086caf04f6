"""The pages of the documentation, and the blocks of code in them."""

import re
from dataclasses import dataclass

from helpers import ROOT

NAMES = ("README.md", "CONTRIBUTING.md", "QUALITY_DECLARATION.md", "SECURITY.md")
FOLDERS = ("docs", "dreamif_model/weights")
PAGES = [ROOT / name for name in NAMES]
PAGES += [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]
FENCE = re.compile(r"^(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = ("", "bash", "sh", "console")
# What the folder of example files has; see test/project/conftest.py.
SIZE = 48, 64  # of the visible images; infrared is half as large
PAIRS = 4


@dataclass(frozen=True)
class Block:
    """A fenced block: note is what the comment before it says."""

    note: str
    language: str
    text: str
    line: int


def blocks(page):
    content = page.read_text(encoding="utf-8")
    return [
        Block(m[1] or "", m[2], m[3], content.count("\n", 0, m.start(3)))
        for m in FENCE.finditer(content)
    ]


def shell_lines(page):
    """(number, command) of each line in an indented block or a fenced one of a shell.

    Lines that a backslash joins are one command.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    fenced, shell = set(), set()
    for block in blocks(page):
        inside = range(block.line, block.line + block.text.count("\n"))
        fenced.update(inside)
        if block.language in SHELL:
            shell.update(inside)
    indented = {i for i, line in enumerate(lines) if line.startswith("    ")} - fenced
    chosen = iter(sorted(shell | indented))
    for index in chosen:
        text, number = lines[index].strip().removeprefix("$ "), index + 1
        while text.endswith("\\"):
            text = text[:-1] + lines[next(chosen)].strip()
        yield number, text
