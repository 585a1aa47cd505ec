"""The options of `paceline measure`, by what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter


def _group(name: str, sort_key: int) -> Parameter:
    return Parameter(name="*", group=Group(name, sort_key=sort_key))


def _option(text: str, *names: str, env: str | None = None) -> Parameter:
    return Parameter(help=text, name=names or None, negative="", show_default=False, env_var=env)


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """Whom to ask, and how to reach it."""

    url: Annotated[
        str | None, _option("The server, http:// or https://, with the path if it is not obvious.")
    ] = None
    headers: Annotated[
        tuple[str, ...], _option("A header to send, 'Name: value'; may be repeated.", "--header", "-H")
    ] = ()
    token: Annotated[str | None, _option("Bearer token.", env="API_TOKEN")] = None
    insecure: Annotated[bool, _option("Accept any TLS certificate.")] = False
    ca_file: Annotated[Path | None, _option("Certificates to trust, PEM.")] = None
    timeout: Annotated[str, _option("Of one request; default 30s.")] = "30s"
    no_keep_alive: Annotated[bool, _option("A new connection for each request.")] = False
    max_connections: Annotated[int | None, _option("At most so many at a time; default 1024.")] = None


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How much, and for how long."""

    requests: Annotated[int | None, _option("End after so many; with --rate, last as long as they take.")] = (
        None
    )
    concurrency: Annotated[
        int | None,
        _option(
            "Closed loop: users who each send the next request when the last was answered; default 10.",
            "--concurrency",
            "--users",
        ),
    ] = None
    think_time: Annotated[str | None, _option("Pause of a user between answer and next request.")] = None
    rate: Annotated[
        float | None, _option("Open loop: requests per second, sent whether or not the server keeps up.")
    ] = None
    arrivals: Annotated[
        Literal["poisson", "constant", "gamma"] | None,
        _option(
            "Gaps of the open loop: by chance (poisson, the default), all the same, or in bursts (gamma)."
        ),
    ] = None
    burstiness: Annotated[
        float | None, _option("Coefficient of variation of gamma's gaps; 1 is poisson, default 2.")
    ] = None
    duration: Annotated[str | None, _option("30s, 1m30s, 2h or seconds; default 30s.")] = None
    stage: Annotated[
        tuple[str, ...],
        _option(
            "DURATION:TARGET, a straight line to that rate from the one before (0 or --rate), or to that number of "
            "users with --concurrency; 0s:TARGET jumps. May be repeated."
        ),
    ] = ()
    trace: Annotated[
        Path | None,
        _option("Replay recorded arrivals: CSV or JSONL with timestamps, or a Paceline access log."),
    ] = None
    speed: Annotated[float | None, _option("Replay the trace so many times as fast.")] = None
    scenario: Annotated[
        str | None,
        _option("A preset (--list-scenarios) or a TOML file; --rate, --concurrency and --duration scale it."),
    ] = None
    capacity: Annotated[
        bool,
        _option(
            "Search the highest rate that holds the thresholds (default p(95)<300), from --rate on, trying each for "
            "--duration."
        ),
    ] = False
    workers: Annotated[int, _option("Processes that send; default 1.")] = 1
    seed: Annotated[int, _option("The same seed sends the same requests at the same times; default 1.")] = 1


@dataclass(frozen=True, kw_only=True)
class ContentOptions:
    """What is asked."""

    task: Annotated[
        Literal["embeddings", "completions", "chat", "vectors", "http"] | None,
        _option(
            "OpenAI's request shapes, queries of a collection (vectors), or plain HTTP. Default: what the path says, or the "
            "server if there is none."
        ),
    ] = None
    model: Annotated[str | None, _option("Model id, when the server has several.")] = None
    stream: Annotated[bool, _option("Ask for server-sent events and time every token.")] = False
    prompt_words: Annotated[int | None, _option("Length of a generated prompt or text; default 16.")] = None
    max_tokens: Annotated[int | None, _option("Of a generated answer; default 64.")] = None
    distinct: Annotated[
        int | None,
        _option("How many different bodies; fewer lets the server's caches help. Default: one a request."),
    ] = None
    method: Annotated[str | None, _option("Default: POST with a body, GET without.")] = None
    body: Annotated[str | None, _option("Send this.")] = None
    body_file: Annotated[
        Path | None,
        _option("Send these, one body a line, in turn; of task vectors also .npy, one query a row."),
    ] = None
    expect_status: Annotated[
        tuple[int, ...], _option("A good answer has this status; default 200 to 299. May be repeated.")
    ] = ()


@dataclass(frozen=True, kw_only=True)
class JudgingOptions:
    """What makes the run fail, and when it ends."""

    threshold: Annotated[
        tuple[str, ...],
        _option(
            "p(95)<300, or p(95)<300|600 with a critical level (else twice the target for latencies); also avg, max, "
            "errors<1%, rate>100, goodput>95%, ttft p(95)<500, hits>50%, memory<6GB. May be repeated."
        ),
    ] = ()
    slo: Annotated[Path | None, _option("TOML file with thresholds = [...] or tables [[objective]].")] = None
    precision: Annotated[
        str | None, _option("End early when the percentile asked for (else p95) is known to +- this, as 5%.")
    ] = None
    warm_up: Annotated[
        str | None, _option("Leave out the beginning; default: as long as latencies settle.")
    ] = None
    abort_on_failures: Annotated[
        str | None, _option("End when so many of the last 100 requests failed; default 100%.")
    ] = None
    keep_going: Annotated[
        bool,
        _option("Do not end when everything fails; go on with the next phase whatever the last one showed."),
    ] = False
    time_limit: Annotated[str | None, _option("End each phase after so long, whatever is in flight.")] = None
    baseline: Annotated[str | None, _option("Compare with this run: its id, name, report or records.")] = None


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What is written where."""

    name: Annotated[str | None, _option("Of the run, in reports and in the store.")] = None
    json: Annotated[bool, _option("Print the report as JSON instead of the tables.")] = False
    output: Annotated[
        tuple[str, ...],
        _option(
            "FILE.html, .json, .csv or .xml (JUnit), or KIND=FILE with html, json, csv, junit. May be repeated."
        ),
    ] = ()
    records: Annotated[
        Path | None, _option("Keep the record of every request here; default: in the store.")
    ] = None
    histogram: Annotated[
        bool, _option("Keep counts by second instead of a record of every request: for many hours.")
    ] = False
    watch_pid: Annotated[
        int | None, _option("Watch this process's CPU, memory and files as the server's.")
    ] = None
    export: Annotated[
        Literal["k6"] | None, _option("Print a k6 script that does the same, and send nothing.")
    ] = None
    list_scenarios: Annotated[bool, _option("Print the presets.")] = False
    show_scenario: Annotated[
        bool, _option("Print the scenario's file, to start one's own from.", "--print")
    ] = False


Target = Annotated[TargetOptions, _group("Target", 1)]
Load = Annotated[LoadOptions, _group("Load", 2)]
Content = Annotated[ContentOptions, _group("Requests", 3)]
Judging = Annotated[JudgingOptions, _group("Judgement and end", 4)]
Output = Annotated[OutputOptions, _group("Output", 5)]


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """All of them."""

    target: TargetOptions = TargetOptions()
    load: LoadOptions = LoadOptions()
    content: ContentOptions = ContentOptions()
    judging: JudgingOptions = JudgingOptions()
    output: OutputOptions = OutputOptions()
