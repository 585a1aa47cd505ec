"""The options of `paceline tune` and `paceline ab`, by what they are about; those of the target are `measure`'s."""

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
class ReplayOptions:
    """The load that every trial replays."""

    rate: Annotated[
        float | None,
        _option("Requests per second; default 60 % of what the server does with 32 users, tried for 3 s."),
    ] = None
    duration: Annotated[
        str | None, _option("Of the load; default as long as 600 requests take, 3 to 15 s.")
    ] = None
    arrivals: Annotated[
        Literal["poisson", "constant", "gamma"] | None,
        _option("Gaps: by chance (poisson, the default), all the same, or in bursts (gamma)."),
    ] = None
    burstiness: Annotated[
        float | None, _option("Coefficient of variation of gamma's gaps; 1 is poisson, default 2.")
    ] = None
    trace: Annotated[
        Path | None,
        _option("Replay recorded arrivals: CSV or JSONL with timestamps, or a Paceline access log."),
    ] = None
    speed: Annotated[float | None, _option("Replay the trace so many times as fast.")] = None
    seed: Annotated[int, _option("The same seed sends the same requests at the same times; default 1.")] = 1


@dataclass(frozen=True, kw_only=True)
class AskedOptions:
    """What is asked."""

    task: Annotated[
        Literal["embeddings", "completions", "chat", "vectors", "http"] | None,
        _option(
            "OpenAI's request shapes, queries of a collection (vectors), or plain HTTP. Default: what the path says, or the "
            "server if there is none."
        ),
    ] = None
    model: Annotated[str | None, _option("Model id, when the server has several.")] = None
    prompt_words: Annotated[str, _option("Words of a made-up text, a number or a range; default 4..64.")] = (
        "4..64"
    )
    max_tokens: Annotated[int | None, _option("Of a generated answer; default 64.")] = None
    distinct: Annotated[
        int | None,
        _option("So many different texts, some asked for often and most rarely (Zipf); default: all differ."),
    ] = None
    body: Annotated[str | None, _option("Send this.")] = None
    body_file: Annotated[
        Path | None,
        _option("Send these, one body a line, in turn; of task vectors also .npy, one query a row."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ContestOptions:
    """What to hold, and what to compare."""

    slo: Annotated[Path | None, _option("TOML file with thresholds = [...] or tables [[objective]].")] = None
    threshold: Annotated[
        tuple[str, ...], _option("p(95)<300, errors<1%, cpu<70%, memory<6GB ...; may be repeated.")
    ] = ()
    objective: Annotated[
        str,
        _option(
            "What to improve once the SLO holds: latency (its first percentile, else p95), throughput (good requests "
            "per second under stress), cost (CPU seconds per good request). Default latency."
        ),
    ] = "latency"
    margin: Annotated[str, _option("A change within this share is no change to anybody; default 2%.")] = "2%"


@dataclass(frozen=True, kw_only=True)
class GoalOptions(ContestOptions):
    """What to hold, and what to make small."""

    allowed_loss: Annotated[
        float | None,
        _option(
            "Quality a setting may cost: loss of mean score, e.g. 0.005; default 0, or any with --least-quality."
        ),
    ] = None
    least_quality: Annotated[
        float | None,
        _option(
            "Mean score that a setting must surely hold, such as a recall of 0.97 of --task vectors; above 0, below 1."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What may be turned, and how much time it may take."""

    knob: Annotated[
        tuple[str, ...], _option("Turn only these (`paceline knobs` lists them); may be repeated.")
    ] = ()
    budget: Annotated[str, _option("Time for everything; default 5m.")] = "5m"
    max_runs: Annotated[int, _option("Live runs before the A/B test at most; default 10.")] = 10
    candidates: Annotated[int, _option("Settings verified live, 1 to 8; default 4.")] = 4
    blackbox: Annotated[bool, _option("Do not simulate: search live with Optuna.")] = False
    launch: Annotated[
        str | None, _option("Start the server with this command for each setting: any server, any knob.")
    ] = None
    knobs: Annotated[Path | None, _option("TOML file with the knobs of --launch.")] = None
    admin_token: Annotated[str | None, _option("The server's admin.token.", env="PACELINE_ADMIN__TOKEN")] = (
        None
    )


@dataclass(frozen=True, kw_only=True)
class ResultOptions:
    """What is done with the winner, and what is written."""

    apply: Annotated[
        bool, _option("Turn the winner on, in steps, with guard rails; else it is only written down.")
    ] = False
    write: Annotated[Path, _option("Settings of the winner, for `serve --config`; default tuned.toml.")] = (
        Path("tuned.toml")
    )
    output: Annotated[
        tuple[Path, ...], _option("FILE.html or FILE.json with the report; may be repeated.")
    ] = ()
    json: Annotated[bool, _option("Print the report as JSON.")] = False


@dataclass(frozen=True, kw_only=True)
class SidesOptions:
    """Who meets whom."""

    a: Annotated[
        Path | None,
        _option("Settings file of side A, live settings only; default: the server's own settings.", "--a"),
    ] = None
    b: Annotated[Path | None, _option("Settings file of side B, tried on the same server.", "--b")] = None
    a_url: Annotated[str | None, _option("Server of side A, for two servers as they are.", "--a-url")] = None
    b_url: Annotated[str | None, _option("Server of side B.", "--b-url")] = None
    admin_token: Annotated[
        str | None,
        _option("The admin.token of --url; two servers need none.", env="PACELINE_ADMIN__TOKEN"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class BlocksOptions:
    """How long it is tried."""

    blocks: Annotated[
        int, _option("At most so many, 6 or more; it ends when the difference is known. Default 20.")
    ] = 20
    block_duration: Annotated[
        str | None,
        _option(
            "Of each side of a block, which replays the next part of the load (--duration); default half of it."
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class AbOutputOptions:
    """What is written."""

    output: Annotated[
        tuple[Path, ...], _option("FILE.html or FILE.json with the report; may be repeated.")
    ] = ()
    json: Annotated[bool, _option("Print the report as JSON.")] = False


Replay = Annotated[ReplayOptions, _group("Load", 2)]
Asked = Annotated[AskedOptions, _group("Requests", 3)]
Wanted = Annotated[GoalOptions, _group("Goal", 4)]
Searched = Annotated[SearchOptions, _group("Search", 5)]
Result = Annotated[ResultOptions, _group("Result", 6)]
Sides = Annotated[SidesOptions, _group("Sides", 1)]
Compared = Annotated[ContestOptions, _group("Goal", 4)]
Blocks = Annotated[BlocksOptions, _group("Blocks", 5)]
AbOutput = Annotated[AbOutputOptions, _group("Result", 6)]
