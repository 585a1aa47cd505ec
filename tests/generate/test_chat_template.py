"""Chat templates, against transformers on templates of the common styles."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from text_models import byte_level
from transformers import PreTrainedTokenizerFast

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.generate.chat_template import MAX_PROMPT_CHARACTERS, MAX_TURNS, ChatTemplate

NAMES = {"bos_token": "<s>", "eos_token": "</s>"}

CHATML = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{ messages[0].content + '\\n\\n' }}{% endif %}
    {{- '# Tools' }}
    {%- for tool in tools %}
        {{- '\\n' ~ tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'system' and tools %}{% continue %}{% endif %}
    {{- '<|im_start|>' + message.role + '\\n' + (message.content or '') }}
    {%- for call in message.tool_calls or [] %}
        {{- '<tool_call>{"name": "' ~ call.function.name ~ '", "arguments": ' }}
        {{- call.function.arguments | tojson(indent=none) ~ '}</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{ '<think></think>' }}{% endif %}
{%- endif %}
"""
INSTRUCTIONS = """\
{{ bos_token }}
{% if messages[0]['role'] == 'system' %}
    {% set system = '<<SYS>>' + messages[0]['content'] | trim + '<</SYS>>' %}
    {% set rest = messages[1:] %}
{% else %}
    {% set system = '' %}
    {% set rest = messages %}
{% endif %}
{% for message in rest %}
    {% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('Roles must alternate user/assistant') }}
    {% endif %}
    {% if message['role'] == 'user' %}
[INST] {{ system if loop.first else '' }}{{ message['content'].strip() }} [/INST]
    {% else %}
 {{ message['content'] }}{{ eos_token }}
    {% endif %}
{% endfor %}
"""
HEADERS = """\
{{- bos_token }}
{%- if not date_string is defined %}{% set date_string = strftime_now("%d %b %Y") %}{% endif %}
{{- "<|start|>system<|end|>\\n\\nToday: " + date_string + "\\n" }}
{%- set state = namespace(turns=0) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{% set state.turns = state.turns + 1 %}{% endif %}
    {%- if message.role == 'assistant' %}
        {{- '<|start|>assistant<|end|>\\n\\n' }}{% generation %}{{ message.content | trim }}<|eot|>{% endgeneration %}
    {%- else %}
        {{- '<|start|>' ~ message.role ~ '<|end|>\\n\\n' ~ message.content | trim ~ '<|eot|>' }}
    {%- endif %}
{%- endfor %}
{{- 'turns ' ~ state.turns }}
{%- if add_generation_prompt %}{{ '<|start|>assistant<|end|>\\n\\n' }}{% endif %}
"""
PLAIN = """\
{% macro name(role) %}{{ {'user': 'Q', 'assistant': 'A'}.get(role, role) }}{% endmacro %}
{% for m in messages | rejectattr('role', 'equalto', 'system') %}
{{ name(m.role) }}: {{ m.content }}
{% if loop.index > 20 %}{% break %}{% endif %}
{% endfor %}
A:"""
CONVERSATIONS = {
    "one": [{"role": "user", "content": "What is <b>2 & 3</b>?"}],
    "system": [{"role": "system", "content": " Be brief. "}, {"role": "user", "content": "Grüß dich\n"}],
    "turns": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": " Hello! "},
        {"role": "user", "content": "日本?"},
    ],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "title": "<Where é>"}},
    }
]


def ours(source: str) -> ChatTemplate:
    return ChatTemplate({"default": source}, NAMES)


def theirs(source: str, messages: list[dict[str, Any]], **arguments: Any) -> str:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_level(), **NAMES)
    return str(tokenizer.apply_chat_template(messages, chat_template=source, tokenize=False, **arguments))


@pytest.mark.parametrize(
    "source", [CHATML, INSTRUCTIONS, HEADERS, PLAIN], ids=["chatml", "inst", "headers", "plain"]
)
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("add_generation_prompt", [True, False])
def test_a_conversation_reads_as_transformers_writes_it(
    source: str, conversation: str, add_generation_prompt: bool
):
    messages = CONVERSATIONS[conversation]

    assert ours(source).render(messages, add_generation_prompt=add_generation_prompt) == theirs(
        source, messages, add_generation_prompt=add_generation_prompt
    )


def test_tools_and_arguments_read_as_transformers_writes_them():
    messages = CONVERSATIONS["system"]

    assert ours(CHATML).render(messages, TOOLS, enable_thinking=False) == theirs(
        CHATML, messages, tools=TOOLS, add_generation_prompt=True, enable_thinking=False
    )


def test_a_calls_arguments_may_be_json_text_as_openais_clients_send_them():
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
    text = {**call, "function": {"name": "weather", "arguments": '{"city": "Köln"}'}}
    as_object = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    as_text = [{"role": "assistant", "content": None, "tool_calls": [text]}]

    assert (
        ours(CHATML).render(as_text)
        == ours(CHATML).render(as_object)
        == theirs(CHATML, as_object, add_generation_prompt=True)
    )


def test_arguments_that_are_no_json_stay_as_the_model_wrote_them():
    call = {"function": {"name": "weather", "arguments": "{city"}}

    assert '"arguments": "{city"' in ours(CHATML).render([{"role": "assistant", "tool_calls": [call]}])


def test_text_parts_become_one_text():
    parts = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "here"}]

    assert ours(PLAIN).render([{"role": "user", "content": parts}]) == "Q: Look:\nhere\nA:"


def test_what_is_not_text_is_refused_by_its_place():
    message = {"role": "user", "content": [{"type": "image_url", "image_url": {}}]}

    with pytest.raises(
        InvalidRequest, match=r"messages\[1\].content has a part of type 'image_url'; this model"
    ) as no:
        ours(PLAIN).render([CONVERSATIONS["one"][0], message])

    assert no.value.param == "messages[1].content"


def test_the_templates_own_refusal_is_told():
    with pytest.raises(
        InvalidRequest, match="refuses the conversation: Roles must alternate user/assistant; change"
    ):
        ours(INSTRUCTIONS).render([{"role": "assistant", "content": "Hi"}])


def test_a_conversation_that_the_template_did_not_expect_is_the_callers_error():
    with pytest.raises(InvalidRequest, match="refuses the conversation"):
        ours(INSTRUCTIONS).render([])


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "{% for i in range(1000) %}{% for j in range(1000) %}{% endfor %}{% endfor %}",
            f"more than {MAX_TURNS}",
        ),
        (
            "{% set long = 'x' * 100000 %}{% for i in range(1000) %}{{ long }}{% endfor %}",
            f"more than {MAX_PROMPT_CHARACTERS} characters",
        ),
        ("{{ messages.append(1) }}", "not safely callable|unsafe"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ],
)
def test_a_template_cannot_run_away_or_break_out(source: str, reason: str):
    with pytest.raises(InvalidRequest, match=reason):
        ours(source).render(CONVERSATIONS["one"])


def test_the_caller_cannot_replace_what_the_server_sets():
    with pytest.raises(InvalidRequest, match="'documents' is set by the server") as refused:
        ours(PLAIN).render(CONVERSATIONS["one"], documents=[])

    assert refused.value.param == "chat_template_kwargs"


def test_the_date_is_the_clocks():
    template = ChatTemplate(
        {"default": "{{ strftime_now('%Y-%m-%d') }}"}, {}, now=lambda: datetime(2024, 2, 29, tzinfo=UTC)
    )

    assert template.render([]) == "2024-02-29"


def test_tools_have_a_template_of_their_own_where_there_is_one():
    template = ChatTemplate({"default": "plain", "tool_use": "tools"}, {})

    assert (template.render([]), template.render([], TOOLS)) == ("plain", "tools")


def write(path: Path, chat_template: Any) -> None:
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": chat_template}))


def test_templates_are_found_in_the_configuration(tmp_path: Path):
    write(tmp_path, [{"name": "default", "template": "a"}, {"name": "tool_use", "template": "b"}])
    assert ChatTemplate.open(tmp_path, {}).render([], TOOLS) == "b"

    write(tmp_path, "c")
    assert ChatTemplate.open(tmp_path, {}).render([]) == "c"


def test_a_file_of_its_own_comes_first(tmp_path: Path):
    write(tmp_path, "from the configuration")
    (tmp_path / "chat_template.jinja").write_text("from the file")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("with tools")
    template = ChatTemplate.open(tmp_path, {})

    assert (template.render([]), template.render([], TOOLS)) == ("from the file", "with tools")


@pytest.mark.parametrize("chat_template", [None, ""])
def test_without_a_template_a_conversation_is_refused_with_a_way_out(
    tmp_path: Path, chat_template: str | None
):
    write(tmp_path, chat_template)

    with pytest.raises(
        InvalidRequest, match=r"send a prompt to /v1/completions, or add a chat_template.jinja"
    ):
        ChatTemplate.open(tmp_path, {}).render(CONVERSATIONS["one"])


def test_an_empty_folder_has_no_template(tmp_path: Path):
    with pytest.raises(InvalidRequest, match="has no chat template"):
        ChatTemplate.open(tmp_path, {}).render([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"tokenizer_config.json cannot be read"),
        ("[]", r"tokenizer_config.json cannot be read"),
        ('{"chat_template": [1]}', r"chat_template is neither a text nor a list of name and template"),
        ('{"chat_template": "{% if %}"}', r"the chat template 'default' is no Jinja template \(line 1: "),
    ],
)
def test_a_broken_template_is_the_operators_error(tmp_path: Path, content: str, message: str):
    (tmp_path / "tokenizer_config.json").write_text(content)

    with pytest.raises(ConfigError, match=message):
        ChatTemplate.open(tmp_path, {})


def test_a_missing_jinja_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)

    with pytest.raises(ConfigError, match=r"pip install 'paceline\[generate\]'"):
        ChatTemplate({"default": "x"}, {})
