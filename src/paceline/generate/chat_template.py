"""A conversation as one prompt: the model's own chat template, in Jinja, run in a sandbox.

Templates are written for Hugging Face's surroundings, so they find here what they find there: how lines are trimmed,
`break` and `continue`, `raise_exception`, `strftime_now`, `tojson` that escapes nothing, `{% generation %}` blocks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from paceline.base.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    from jinja2 import Environment, Template

MAX_PROMPT_CHARACTERS: Final = 8 * 1024 * 1024
"""A rendered conversation's; more than any context holds."""
MAX_TURNS: Final = 100_000
"""Numbers that all `range`s of one rendering give together: a template that counts has an end."""
_OURS: Final = frozenset({"messages", "tools", "documents", "add_generation_prompt", "range"})
"""Names that the caller's own arguments may not have."""


class ChatTemplate:
    """The templates of a model folder. Thread-safe. Made by `open`."""

    def __init__(
        self,
        sources: Mapping[str, str],
        names: Mapping[str, str],
        *,
        now: Callable[[], datetime] = datetime.now,
    ) -> None:
        """`sources` are templates by name, `default` and maybe `tool_use`; `names` are special tokens' texts.

        `now` is the wall clock that templates may write the date of. Raises ConfigError for a template that is none,
        and when Jinja is not installed.
        """
        environment = _environment(now) if sources else None
        self._templates: dict[str, Template] = {}
        self._names = dict(names)
        for name, source in sources.items():
            assert environment is not None
            self._templates[name] = _parsed(environment, name, source)

    @classmethod
    def open(
        cls, folder: Path, names: Mapping[str, str], *, now: Callable[[], datetime] = datetime.now
    ) -> ChatTemplate:
        """Read chat_template.jinja (and additional_chat_templates/), else chat_template of tokenizer_config.json.

        A folder with neither gives a template that refuses to render. Raises ConfigError that names the file.
        """
        return cls(_sources(folder), names, now=now)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = True,
        **arguments: Any,
    ) -> str:
        """The prompt, special tokens and all, so tokenise it without adding any.

        `arguments` are what the template offers beyond that, such as `enable_thinking`. Raises InvalidRequest with the
        template's own words when it refuses the conversation, and when there is no template.
        """
        template = self._chosen(bool(tools))
        taken = sorted(_OURS & arguments.keys())
        if taken:
            raise InvalidRequest(
                f"the template argument {taken[0]!r} is set by the server; leave it out",
                param="chat_template_kwargs",
            )
        variables = {
            **self._names,
            **arguments,
            "messages": [_plain(message, place) for place, message in enumerate(messages)],
            "tools": [dict(tool) for tool in tools] if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            "range": _Turns(),
        }
        return _rendered(template, variables)

    def _chosen(self, tools: bool) -> Template:
        if not self._templates:
            raise InvalidRequest(
                "this model has no chat template, so it is no chat model; send a prompt to /v1/completions, "
                "or add a chat_template.jinja to its folder and restart",
                param="messages",
            )
        for name in ("tool_use", "default") if tools else ("default",):
            if name in self._templates:
                return self._templates[name]
        return next(iter(self._templates.values()))


class _Turns:
    """`range` with an end to all counting."""

    def __init__(self) -> None:
        self._left = MAX_TURNS

    def __call__(self, *bounds: int) -> range:
        numbers = range(*bounds)
        self._left -= len(numbers)
        if self._left < 0:
            raise OverflowError(f"it counts to more than {MAX_TURNS}")
        return numbers


def _sources(folder: Path) -> dict[str, str]:
    """Templates by name."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        others = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        return {"default": _text(file), **{other.stem: _text(other) for other in others}}
    settings = folder / "tokenizer_config.json"
    if not settings.is_file():
        return {}
    try:
        found = json.loads(_text(settings)).get("chat_template")
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{settings} cannot be read ({error}); copy it again") from error
    if not found:
        return {}
    if isinstance(found, str):
        return {"default": found}
    try:
        return {str(entry["name"]): str(entry["template"]) for entry in found}
    except (TypeError, KeyError):
        raise ConfigError(
            f"{settings}: chat_template is neither a text nor a list of name and template; copy it again"
        ) from None


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read ({error}); copy it again") from error


def _environment(now: Callable[[], datetime]) -> Environment:
    try:
        from jinja2 import TemplateError  # noqa: PLC0415 - optional

        from paceline.generate.jinja import Environment  # noqa: PLC0415 - optional
    except ImportError:
        raise ConfigError(
            "chat templates need jinja2, which is not installed: pip install 'paceline[generate]'"
        ) from None

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    environment = Environment()
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: now().strftime(form)
    return environment


def _parsed(environment: Environment, name: str, source: str) -> Template:
    from jinja2 import TemplateSyntaxError  # noqa: PLC0415 - optional

    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise ConfigError(
            f"the chat template {name!r} is no Jinja template (line {error.lineno}: {error.message}); copy it again"
        ) from error


def _plain(message: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A message as templates know it: its content one text, the arguments of its calls objects rather than JSON."""
    plain = dict(message)
    if isinstance(plain.get("content"), list):
        plain["content"] = "\n".join(_part(part, place) for part in plain["content"])
    if plain.get("tool_calls"):
        plain["tool_calls"] = [_call(call) for call in plain["tool_calls"]]
    return plain


def _part(part: Any, place: int) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    if kind != "text" or not isinstance(part.get("text"), str):
        raise InvalidRequest(
            f"messages[{place}].content has a part of type {kind!r}; this model reads text only",
            param=f"messages[{place}].content",
        )
    return str(part["text"])


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's clients send a call's arguments as JSON text; what is not JSON stays as the model wrote it."""
    function = dict(call.get("function") or {})
    if isinstance(function.get("arguments"), str):
        try:
            function["arguments"] = json.loads(function["arguments"])
        except ValueError:
            return dict(call)
    return {**call, "function": function} if function else dict(call)


def _rendered(template: Template, variables: dict[str, Any]) -> str:
    pieces, length = [], 0
    try:
        for piece in template.generate(variables):
            pieces.append(piece)
            length += len(piece)
            if length > MAX_PROMPT_CHARACTERS:
                raise OverflowError(f"it writes more than {MAX_PROMPT_CHARACTERS} characters")  # noqa: TRY301
    except Exception as error:  # a template is a program: wrong input ends it in any way
        reason = str(error) or type(error).__name__
        raise InvalidRequest(
            f"the model's chat template refuses the conversation: {reason}; change the messages or their order",
            param="messages",
        ) from error
    return "".join(pieces)
