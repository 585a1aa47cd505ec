"""What stands around a report: one HTML file whose policy lets through its own style and script and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from importlib.resources import files

from paceline.base.page.svg import tag


def frame(title: str, *, head: str, main: Iterable[str], foot: str, style: str = "") -> str:
    """The whole file. `head` and the parts of `main` are markup, `title` and `foot` words; `style` adds to the sheet."""
    styled, script = "\n".join(filter(None, (_resource("style.css"), style.strip()))), _resource("script.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(styled)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<title>{escape(title)}</title>",
            f'<link rel="icon" href="data:,"><style>{styled}</style></head>',
            f"<body>{head}<main>" + "\n".join(main),
            f"</main>{tag('footer', tag('p', escape(foot)))}<script>{script}</script></body></html>\n",
        )
    )


def _resource(name: str) -> str:
    return files("paceline.base.page").joinpath(name).read_text("utf-8").strip()


def _digest(text: str) -> str:
    """As a Content-Security-Policy names the only style and script it lets through."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
