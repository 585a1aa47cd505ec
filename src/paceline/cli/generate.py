"""`paceline generate`: text from a running server, written as it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError
from paceline.cli.console import say, say_note
from paceline.cli.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from paceline.client import Client, Generated, Piece

command = App(
    name="generate",
    help_epilogue="Examples:\n\n"
    '    paceline generate "The sea is" --max-tokens 40 --temperature 0\n'
    '    paceline generate --chat "What is the sea like?"\n'
    "    paceline generate - --json < prompt.txt\n\n"
    "Ctrl-C ends the answer, here and on the server.",
)

DEFAULT_URL = "http://127.0.0.1:8080"


@command.default
def generate(  # noqa: PLR0913 - the options of the command
    prompt: Annotated[
        str, Parameter(allow_leading_hyphen=True, help="What to go on with; - reads it from standard input.")
    ],
    *,
    url: Annotated[
        str,
        Parameter(help="The server (http://, https:// or unix://); its token is the setting auth.token."),
    ] = DEFAULT_URL,
    model: Annotated[str | None, Parameter(help="Model id, when the server has several.")] = None,
    max_tokens: Annotated[int | None, Parameter(help="Tokens of the answer at most.")] = None,
    temperature: Annotated[float | None, Parameter(help="0 takes the most likely token.")] = None,
    chat: Annotated[bool, Parameter(negative="", help="Send it as a turn of a conversation.")] = False,
    json: Annotated[
        bool, Parameter(negative="", help="Print JSON: one object, or one for each piece.")
    ] = False,
    stream: Annotated[
        bool | None, Parameter(help="Write pieces as they come. Default: yes, but not with --json.")
    ] = None,
    options: Options = NO_OPTIONS,
) -> None:
    """Let a running server go on with a prompt, or answer in a chat."""
    from paceline.client import Client  # noqa: PLC0415 - the HTTP client, which `--help` does not need

    settings = options.load().settings
    text = read_prompt(prompt)
    given = {"model": model, "max_tokens": max_tokens, "temperature": temperature}
    fields = {name: value for name, value in given.items() if value is not None}
    with Client(
        url, token=settings.auth.token or None, timeout_s=settings.serve.generate_timeout_s
    ) as client:
        if not json if stream is None else stream:
            _write_pieces(client, text, fields, chat=chat, json=json)
        else:
            _write_whole(client, text, fields, chat=chat, json=json)


def read_prompt(given: str) -> str:
    """The prompt, or standard input without its last line end. Raises ConfigError when it is empty or no text."""
    if given != "-":
        return given
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8 at byte {error.start}") from error
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise ConfigError("standard input is empty; give a prompt")
    return text


def _write_whole(client: Client, text: str, fields: dict[str, Any], *, chat: bool, json: bool) -> None:
    reply: Generated = client.chat(text, **fields) if chat else client.generate(text, **fields)
    if not json:
        say(reply.text)
        return
    answer = reply.answers[0]
    say(
        msgspec.json.encode(
            {
                "text": answer.text,
                "finish_reason": answer.finish_reason,
                "model": reply.model,
                "usage": reply.usage,
                "timings": reply.timings,
                "request_id": reply.request_id,
            }
        ).decode()
    )


def _write_pieces(client: Client, text: str, fields: dict[str, Any], *, chat: bool, json: bool) -> None:
    out = sys.stdout
    pieces = client.chat_stream(text, **fields) if chat else client.generate_stream(text, **fields)
    with closing(pieces):
        if json:
            for piece in pieces:
                say(msgspec.json.encode(piece).decode())
                out.flush()
            return
        written = False
        try:
            for told in _texts(pieces):
                out.write(told)
                out.flush()
                written = True
        finally:
            if written:  # whatever ended it, the prompt of the shell stands on a line of its own
                out.write("\n")


def _texts(pieces: Iterator[Piece]) -> Iterator[str]:
    for piece in pieces:
        if piece.text:
            yield piece.text
        if piece.finish_reason == "length":
            say_note("the answer was cut at its longest; --max-tokens takes more")
