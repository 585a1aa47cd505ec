"""A page's policy lets through its own style and script, and its words are words."""

from __future__ import annotations

import base64
import hashlib
import re

from paceline.base.page.frame import frame


def page(**changes):
    return frame(
        "a title", **{"head": "<h1>x</h1>", "main": ["<p>one</p>", "<p>two</p>"], "foot": "foot"} | changes
    )


def test_title_and_foot_are_escaped_and_markup_is_not():
    written = page(foot="<b>")

    assert "&lt;b&gt;" in written
    assert "<main><p>one</p>\n<p>two</p>" in written


def test_a_further_style_stands_behind_the_common_one_and_is_in_the_policy():
    written = page(style=".front { stroke: red; }")
    style = re.search(r"<style>(.*?)</style>", written, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert style.endswith("\n.front { stroke: red; }")
    assert f"style-src 'sha256-{digest}'" in written.replace("&#x27;", "'")


def test_nothing_is_loaded_from_elsewhere():
    assert not re.search(r"https?://|@import|url\(", page())
