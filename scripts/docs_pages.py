"""Add to the web site of docs/ the pages that lie elsewhere in the repository; see mkdocs.yml."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
MOVED = {  # path in the repository: path in the site
    "README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "QUALITY_DECLARATION.md": "quality.md",
    "SECURITY.md": "security.md",
    "dreamif_model/weights/nano.md": "weights/nano.md",
    "dreamif_model/weights/nano_permissive.md": "weights/nano_permissive.md",
    "dreamif_model/weights/tiny.md": "weights/tiny.md",
}
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add each of these pages, read from the repository."""
    for source, page in MOVED.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point the links of a page at pages of the site."""
    here = page.file.src_uri
    source = next((path for path, moved in MOVED.items() if moved == here), f"docs/{here}")
    return LINK.sub(lambda link: site_link(link, source, here), markdown)


def site_link(link: re.Match[str], source: str, here: str) -> str:
    """The link as the site has it; only its words where the site does not have its target."""
    words, target, anchor = link[1], link[2], link[3] or ""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path not in MOVED and not path.startswith("docs/"):
        return words
    page = MOVED.get(path, path.removeprefix("docs/"))
    return f"[{words}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{anchor})"
