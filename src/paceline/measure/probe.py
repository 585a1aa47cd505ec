"""Ask a server what it speaks, and whether it answers at all, before a run is spent on it."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from paceline.base.errors import PacelineError
from paceline.measure.exchange import Exchanged, exchange
from paceline.measure.load.request import serialise
from paceline.measure.plan import Plan, Target, Task


class _Model(msgspec.Struct):
    id: str
    task: str | None = None
    capabilities: list[str] = []


class _Models(msgspec.Struct):
    data: list[_Model]


def discover(plan: Plan) -> Plan:
    """The plan with task and model filled in from GET /v1/models; plain HTTP when there is no such list.

    Embedding models say so (Paceline: `task`), others are taken for chat models, as every OpenAI-compatible server
    has that route. Raises Unreachable when nobody answers.
    """
    models = _models(plan)
    if not models:
        return plan
    model = models[0]
    payload = plan.payload
    task: Task = payload.task
    if task == "http" and _root(plan.target.url):
        embeds = (
            model.task in {"embed", "embeddings"}
            or "embed" in " ".join((model.id, *model.capabilities)).lower()
        )
        task = "embeddings" if embeds else "chat"
    if task == "http":
        return plan
    filled = msgspec.structs.replace(payload, task=task, model=payload.model or model.id)
    return msgspec.structs.replace(plan, payload=filled)


def name_model(plan: Plan) -> Plan:
    """The plan with the server's first model, when the task needs one and the user named none."""
    needs = plan.payload.task != "http" and plan.payload.model is None
    if not needs or plan.payload.body is not None or plan.payload.body_file is not None:
        return plan
    models = _models(plan)
    if not models:
        return plan
    return msgspec.structs.replace(plan, payload=msgspec.structs.replace(plan.payload, model=models[0].id))


def _models(plan: Plan) -> list[_Model]:
    parts = urlsplit(plan.target.url)
    root = Target(
        url=f"{parts.scheme}://{parts.netloc}/v1/models",
        method="GET",
        headers=plan.target.headers,
        insecure=plan.target.insecure,
        ca_file=plan.target.ca_file,
    )
    request = serialise(Plan(target=root, load=plan.load, keep_alive=False), None)
    answer = exchange(root, request, plan.timeout_s)
    if answer.status != 200:
        return []
    try:
        return msgspec.json.decode(answer.body, type=_Models).data
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _root(url: str) -> bool:
    return urlsplit(url).path.strip("/") in {"", "v1"}


def check_answers(plan: Plan, request: bytes) -> None:
    """Send one request of the run ahead of it; raises Unreachable or PacelineError when its answer is not expected."""
    answer = exchange(plan.target, request, plan.timeout_s)
    expected = plan.expect.status
    if answer.status in expected if expected else 200 <= answer.status < 300:
        return
    raise PacelineError(_complaint(plan, request, answer))


def _complaint(plan: Plan, request: bytes, answer: Exchanged) -> str:
    method, path, _ = request.split(b" ", 2)
    asked = f"{method.decode()} {path.decode('latin-1')} of {plan.target.url}"
    way_out = {
        401: "give --token or set API_TOKEN",
        403: "give --token or set API_TOKEN",
        404: "check the path of --url, or name --task embeddings, completions, chat or vectors",
        405: "check --method",
        429: "the server limits this caller; raise its limit, or measure the limit with --keep-going",
    }.get(answer.status, "mend the request, or measure it all the same with --keep-going")
    said = f" ({answer.excerpt()})" if answer.body else ""
    return f"{asked} answered {answer.status}{said}; {way_out}"
