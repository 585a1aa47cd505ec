"""`/docs`: the OpenAPI description as one page that needs nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from paceline.base.errors import PacelineError, all_errors
from paceline.serve import docs_search, docs_writer
from paceline.serve.problem import STATUS

_FEW = 10
"""Tables with more rows are folded."""

_STYLE = """
:root{color-scheme:light dark;--edge:#8884;--soft:#8881;--accent:light-dark(#0550ae,#79c0ff)}
body{font:16px/1.5 system-ui,sans-serif;max-width:58rem;margin:2rem auto;padding:0 1rem}
h1{margin-bottom:0}a{color:var(--accent)}code,pre,textarea{font:14px/1.45 ui-monospace,monospace}
section{border:1px solid var(--edge);border-radius:8px;padding:.2rem 1rem 1rem;margin:1.2rem 0}
pre,textarea{background:var(--soft);border:0;border-radius:6px;padding:.7rem;overflow:auto;white-space:pre-wrap}
textarea{width:100%;box-sizing:border-box;color:inherit;min-height:8rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem .3rem 0;vertical-align:top;border-top:1px solid var(--edge);overflow-wrap:anywhere}
.method{color:var(--accent);font-weight:700;text-transform:uppercase;margin-right:.6rem}input,button,select{font:inherit;padding:.2rem .6rem}
"""

_SCRIPT = """
const token=document.getElementById('token');
for(const form of document.forms)form.addEventListener('submit',async event=>{
  event.preventDefault();
  const method=form.dataset.method,body=form.querySelector('textarea'),out=form.querySelector('output');
  const headers={};if(token.value)headers.authorization='Bearer '+token.value;
  if(body)headers['content-type']='application/json';
  const path=form.dataset.path.replace(/{(\\w+)}/g,(_,name)=>encodeURIComponent(form.elements[name].value));
  const query=new URLSearchParams();
  for(const field of form.querySelectorAll('[data-query]'))if(field.value)query.append(field.dataset.query,field.value);
  const started=performance.now();
  try{
    const reply=await fetch(path+(query.size?'?'+query:''),{method,headers,body:body&&body.value});
    const text=await reply.text();
    out.innerHTML='<pre></pre>';
    out.firstChild.textContent=`${reply.status} in ${(performance.now()-started).toFixed(1)} ms  `
      +`${reply.headers.get('server-timing')||''}\\n\\n${text.slice(0,4000)}${text.length>4000?' ...':''}`;
  }catch(error){out.textContent=String(error)}
});
"""


def docs_page(description: Mapping[str, Any]) -> bytes:
    """Render an OpenAPI document of ours as HTML."""
    told = description["info"]
    sections = [
        _operation(path, method, operation, methods.get("parameters", []), description)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
        if method != "parameters"
    ]
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(told["title"])}</title><link rel="icon" href="data:,"><style>{_STYLE}{docs_writer.STYLE}{docs_search.STYLE}</style>
<h1>{escape(told["title"])} <small>{escape(told["version"])}</small></h1>
<p>{escape(told["description"])} The same as <a href="openapi.json">openapi.json</a>.</p>
<p><label>Bearer token <input id="token" type="password" autocomplete="off"></label></p>
{docs_writer.writer(description)}{docs_search.searcher(description)}{"".join(sections)}{_errors()}<script>{_SCRIPT}</script></html>""".encode()


def _operation(
    path: str,
    method: str,
    operation: Mapping[str, Any],
    shared: list[Mapping[str, Any]],
    description: Mapping[str, Any],
) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    fields = form = ""
    if content is not None:
        schema = _resolved(content["schema"], description)
        fields = _fields(schema, description)
        form = f"<textarea spellcheck=false aria-label=Body>{escape(json.dumps(content['example'], indent=2))}</textarea>"
    for parameter in shared:
        form += f'<label>{escape(parameter["name"])} <input name="{escape(parameter["name"])}" value="{escape(parameter["example"])}"></label> '
    for parameter in operation.get("parameters", []):
        if parameter.get("in") == "query":
            form += f'<label>{escape(parameter["name"])} <input data-query="{escape(parameter["name"])}"></label> '
    replies = "".join(
        f"<tr><td>{status}<td>{_prose(_resolved(reply, description)['description'])}"
        for status, reply in operation["responses"].items()
    )
    return (
        f'<section id="{escape(operation["operationId"])}"><h2><span class="method">{method}</span><code>{escape(path)}</code></h2>'
        f"<p>{escape(operation['summary'])}</p>{fields}"
        f'<form data-method="{method.upper()}" data-path="{escape(path)}">{form}<p><button>Send</button></p><output></output></form>'
        f"<details><summary>Replies</summary><table>{replies}</table></details></section>"
    )


def _fields(schema: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    if "oneOf" in schema:
        return "<p>or</p>".join(
            _fields(_resolved(choice, description), description) for choice in schema["oneOf"]
        )
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{'*' if name in schema.get('required', ()) else ''}"
        f"<td>{_prose(_kind(field, description))}<td>{_prose(_resolved(field, description).get('description', ''))}"
        for name, field in schema["properties"].items()
    )
    table = f"<table><tr><th>Field<th>Type<th>Meaning{rows}</table>"
    fields = len(schema["properties"])
    if fields <= _FEW:
        return table
    return f"<details><summary>{fields} fields</summary>{table}</details>"


def _kind(field: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    field = _resolved(field, description)
    if "enum" in field:
        return " | ".join(f"`{json.dumps(value)}`" for value in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    for either in ("oneOf", "anyOf"):
        if either in field:
            return " | ".join(_kind(choice, description) for choice in field[either])
    if "prefixItems" in field:
        return f"[{', '.join(_kind(item, description) for item in field['prefixItems'])}]"
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}), description)}"
    bounds = [f"{sign} {field[key]}" for key, sign in (("minimum", "≥"), ("maximum", "≤")) if key in field]
    return " ".join([str(field.get("type", "any")), *bounds])


def _resolved(schema: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = description
        for key in schema["$ref"].removeprefix("#/").split("/"):
            found = found[key]
        schema = found
    return schema


def _errors() -> str:
    rows = "".join(
        f'<tr id="{error.code}"><td><code>{error.code}</code><td>{STATUS[error]}'
        f"<td>{'yes' if error.retryable else 'no'}<td>{_prose((error.__doc__ or '').splitlines()[0])}"
        for error in all_errors(PacelineError)
        if error in STATUS  # a class without a code of its own is its parent to callers
    )
    return f"<h2>Errors</h2><table><tr><th>Code<th>Status<th>May succeed later<th>Meaning{rows}</table>"


def _prose(text: str) -> str:
    """Text with `code` in backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
