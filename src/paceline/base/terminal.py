"""Reports on a terminal, and as plain lines anywhere else: sections of labelled facts and of tables.

Piped, the same words stand one fact a line, without colour, boxes or line breaks, so that they can be searched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

LABEL = 9
"""Columns of the labels on the left."""
WIDE = 10_000
"""Columns where nobody looks: nothing is broken into lines."""

BREAKS = re.compile(r"(?<=[,;]) (?![^\[]*\])")
"""Spaces after a comma or semicolon, but not those of an interval."""

Facts = Iterator[tuple[str, str]]
"""Label and value; a label that says nothing new is empty."""

Colours = Mapping[str, str]
"""How a whole cell or value of these words is printed where there is colour; the word alone says it too."""


def print_sections(stream: TextIO, sections: Callable[[int], Iterable[RenderableType]]) -> None:
    """Print what `sections` gives for the width of the stream, with an empty line between each two."""
    from rich.console import Console  # noqa: PLC0415 - not needed by those who only want the JSON
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDE
    with console.capture() as page:
        for number, section in enumerate(sections(console.width)):
            if number:
                console.print()
            console.print(section, soft_wrap=isinstance(section, Text))
    # Cells are padded to the width of their column, which nobody wants in a file.
    text = page.get()
    stream.write(text if console.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))


def verdict(word: str, because: str, width: int, style: str) -> RenderableType:
    """One word in colour, and why beside it."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2))
    for number, part in enumerate(broken(because, width - len(word) - 2)):
        grid.add_row(Text("" if number else word, style=style), printable(part))
    return grid


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    left: Sequence[int] = (0,),
    *,
    colours: Colours | None = None,
) -> RenderableType:
    """Columns that are read are flush left, numbers right; the first gives way on a narrow terminal."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for index, name in enumerate(head):
        grid.add_column(Text(name), justify="left" if index in left else "right", no_wrap=index > 0)
    for row in rows:
        grid.add_row(*(printable(cell, style=(colours or {}).get(cell, "")) for cell in row))
    return grid


def facts(pairs: Iterable[tuple[str, str]], width: int, *, colours: Colours | None = None) -> RenderableType:
    """A label and its value on each line."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=LABEL)
    grid.add_column()
    for label, value in pairs:
        for number, part in enumerate(broken(value, width - LABEL - 2)):
            grid.add_row(Text("" if number else label), printable(part, style=(colours or {}).get(value, "")))
    return grid


def verbatim(label: str, lines: Iterable[str]) -> Text:
    """A label, and lines to copy below it: they are never broken, however narrow the terminal."""
    from rich.text import Text  # noqa: PLC0415

    return Text("\n").join((Text(label, style="dim"), *(printable(f"  {line}") for line in lines)))


def broken(value: str, width: int) -> list[str]:
    """Lines of `width`, broken after commas and semicolons where that is possible: never inside a figure.

    Sentences are left as they are.
    """
    if value.endswith("."):
        return [value]
    lines: list[str] = []
    for clause in BREAKS.split(value):
        if lines and len(lines[-1]) + 1 + len(clause) <= width:
            lines[-1] += f" {clause}"
        else:
            lines.append(clause)
    return lines


def printable(value: str, style: str = "") -> Text:
    """What a server or a file said may hold anything; a terminal gets none of it as a command."""
    from rich.text import Text  # noqa: PLC0415

    return Text("".join(character if character.isprintable() else "?" for character in value), style=style)
