"""The load testers: how each is asked for the same load, and how its own report is read.

Closed loop (`connections`), open loop (`rate`), and streams of tokens (`rate`). All run on the generator's core alone.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.launch import HOME
from benchmarks.peers.load_testers.running import Watched, watched
from benchmarks.targets import Target

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MODEL = "target"
TOKENS = 64


@dataclass(frozen=True)
class Figures:
    """What a tester said about one run. None: it does not say."""

    done_per_s: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    itl_mean_ms: float | None = None
    itl_p50_ms: float | None = None
    itl_p99_ms: float | None = None
    """AIPerf and ours: of every gap; GuideLLM: of each request's mean."""
    cpu_us: float | None = None
    """For each answer or token, as watched from outside."""
    said: str = ""
    """A verdict or warning of its own."""
    watched: Watched | None = None


Tester = Callable[..., Figures]


def program(name: str) -> str:
    """Path of a system program."""
    found = shutil.which(name)
    assert found, f"apt-get install {name}"
    return found


def installed(name: str, command: str | None = None) -> str:
    """Path of a program in a tester's environment."""
    path = HOME / name / "bin" / (command or name)
    assert path.exists(), f"python -m benchmarks.peers.load_testers.environments {name}"
    return str(path)


# --- ours: the one place that knows its flags


def ours(target: Target, *flags: str, watch: bool = True, timeout_s: float = 600.0) -> Figures:
    """`paceline measure` as users run it; its verdict on itself is in `said`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "paceline", "measure", "--url", target.url, *flags, "--json"]
        run = watched(
            command,
            target if watch else None,
            environment={"PACELINE_RUNS": folder},
            timeout_s=timeout_s,
            accepted=(0, 1, 2, 3, 4),
        )
    try:
        report = json.loads(run.output)
    except ValueError:
        raise RuntimeError(f"{' '.join(command)} printed no report:\n{run.output}\n{run.errors}") from None
    quantiles = report["latency_ms"]["quantiles"]
    gaps = (report.get("streaming") or {}).get("itl_ms") or {"mean": {}, "quantiles": {}}
    wrong = [check["name"] for check in report["validity"]["checks"] if check["state"] != "VALID"]
    return Figures(
        report["done"]
        / report["duration_s"],  # of an INVALID run, too: here the generator is what is measured
        quantiles.get("p50", {}).get("value"),
        quantiles.get("p99", {}).get("value"),
        gaps["mean"].get("value"),
        gaps["quantiles"].get("p50", {}).get("value"),
        gaps["quantiles"].get("p99", {}).get("value"),
        run.cpu_us_per_answer(),
        " ".join([report["validity"]["state"], *wrong]),
        run,
    )


def ours_closed(target: Target, connections: int, seconds: float) -> Figures:
    flags = ("--concurrency", str(connections), "--duration", f"{seconds:g}s", "--task", "http")
    return ours(target, *flags, watch=False)


def ours_open(target: Target, rate: float, seconds: float) -> Figures:
    return ours(target, *_constant(rate, seconds), "--task", "http", "--warm-up", "0s", watch=False)


def ours_streams(target: Target, rate: float, seconds: float) -> Figures:
    flags = ("--task", "chat", "--model", MODEL, "--stream", "--max-tokens", str(TOKENS))
    return ours(target, *_constant(rate, seconds), *flags)


def _constant(rate: float, seconds: float) -> tuple[str, ...]:
    return ("--rate", f"{rate:g}", "--duration", f"{seconds:g}s", "--arrivals", "constant")


# --- wrk, wrk2, hey


_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def _wrk_report(output: str) -> Figures:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert rate, output
    quantiles = {
        percent: float(value) * _UNITS[unit]
        for percent, value, unit in re.findall(
            r"^\s+(50|99)(?:\.000)?%\s+([\d.]+)(us|ms|s|m)\s*$", output, re.MULTILINE
        )
    }
    errors = re.search(r"Socket errors: .*|Non-2xx.*", output)
    return Figures(float(rate[1]), quantiles.get("50"), quantiles.get("99"), said=errors[0] if errors else "")


def wrk_closed(target: Target, connections: int, seconds: float) -> Figures:
    command = [program("wrk"), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency", target.url]
    return _wrk_report(watched(command).output)


def wrk2_open(target: Target, rate: float, seconds: float) -> Figures:
    """Its first ten seconds calibrate and are not reported, so it runs so much longer."""
    wrk2 = HOME / "wrk2-src" / "wrk"
    assert wrk2.exists(), "python -m benchmarks.peers.load_testers.environments wrk2"
    connections = max(100, round(rate * 0.03))
    command = [
        str(wrk2),
        "-t1",
        f"-c{connections}",
        f"-d{seconds + 10:g}s",
        f"-R{rate:g}",
        "--latency",
        target.url,
    ]
    return _wrk_report(watched(command).output)


def hey_open(target: Target, rate: float, seconds: float) -> Figures:
    workers = 50
    command = [program("hey"), "-z", f"{seconds:g}s", "-c", str(workers), "-q", f"{rate / workers:g}"]
    output = watched([*command, "-o", "csv", target.url]).output
    times = sorted(1e3 * float(row["response-time"]) for row in csv.DictReader(output.splitlines()))
    return Figures(len(times) / seconds, _quantile(times, 0.5), _quantile(times, 0.99))


# --- Python and k6


def aiohttp_closed(target: Target, connections: int, seconds: float) -> Figures:
    return _aiohttp(target, seconds, "--connections", connections)


def aiohttp_open(target: Target, rate: float, seconds: float) -> Figures:
    return _aiohttp(target, seconds, "--rate", rate)


def _aiohttp(target: Target, seconds: float, flag: str, value: float) -> Figures:
    command = [
        installed("aiohttp", "python"),
        str(HERE / "aiohttp_client.py"),
        target.url,
        f"{seconds:g}",
        flag,
        f"{value:g}",
    ]
    return Figures(**json.loads(watched(command).output))


def locust_closed(target: Target, connections: int, seconds: float) -> Figures:
    return _locust(target, connections, seconds, {})


def locust_open(target: Target, rate: float, seconds: float) -> Figures:
    users = 100
    return _locust(target, users, seconds, {"LOCUST_USER_RATE": f"{rate / users:g}"})


def _locust(target: Target, users: int, seconds: float, environment: dict[str, str]) -> Figures:
    """Rates are of the requests after the users were started; latencies are rounded by Locust itself."""
    command = [
        installed("locust"),
        "--headless",
        "-f",
        str(HERE / "locustfile.py"),
        "-H",
        target.url.rstrip("/"),
    ]
    command += [
        "-u",
        str(users),
        "-r",
        str(users),
        "-t",
        f"{seconds:g}s",
        "--json",
        "--reset-stats",
        "--loglevel",
        "ERROR",
    ]
    report = json.loads(watched(command, environment=environment).output)[0]
    span = report["last_request_timestamp"] - report["start_time"]
    times = [
        float(ms)
        for ms, count in sorted(report["response_times"].items(), key=lambda item: float(item[0]))
        for _ in range(count)
    ]
    failed = f"{report['num_failures']} failed" if report["num_failures"] else ""
    return Figures(report["num_requests"] / span, _quantile(times, 0.5), _quantile(times, 0.99), said=failed)


def k6_closed(target: Target, connections: int, seconds: float) -> Figures:
    return _k6(target, {"USERS": str(connections), "SECONDS": f"{seconds:g}"})


def k6_open(target: Target, rate: float, seconds: float) -> Figures:
    return _k6(target, {"RATE": f"{rate:g}", "SECONDS": f"{seconds:g}"})


def _k6(target: Target, environment: dict[str, str]) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        command = [installed("k6"), "run", "--quiet", "--no-usage-report", "--summary-export", str(summary)]
        flags = [
            word
            for name, value in {**environment, "URL": target.url}.items()
            for word in ("-e", f"{name}={value}")
        ]
        watched([*command, *flags, str(HERE / "k6_script.js")])
        metrics = json.loads(summary.read_bytes())["metrics"]
    latency = metrics["http_req_duration"]
    dropped = metrics.get("dropped_iterations", {}).get("count", 0)
    said = f"{dropped:g} dropped" if dropped else ""
    return Figures(metrics["http_reqs"]["rate"], latency["p(50)"], latency["p(99)"], said=said)


# --- testers of language models


def guidellm_streams(target: Target, rate: float, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        report, prompts = Path(folder) / "report.json", Path(folder) / "prompts.jsonl"
        _write_prompts(prompts, "prompt", "output_tokens_count", round(2 * rate * seconds))
        backend = f"kind=openai_http,target={target.url.rstrip('/')},model={MODEL},request_format=/v1/chat/completions"
        command = [
            installed("guidellm"),
            "run",
            "--backend",
            backend,
            "--profile",
            f"kind=constant,rate={rate:g}",
        ]
        command += [
            "--constraint",
            f"kind=max_duration,seconds={seconds:g}",
            "--data",
            f"kind=json_file,path={prompts}",
        ]
        command += ["--output", f"kind=json,path={report}", "--disable-progress"]
        run = watched(command, target, environment={"HF_HUB_OFFLINE": "1"})
        benchmark = json.loads(report.read_bytes())["benchmarks"][0]
    metrics = benchmark["metrics"]
    gaps = metrics["inter_token_latency_ms"]["successful"]
    done = metrics["request_totals"]["successful"] / benchmark["duration"]
    picked = gaps["percentiles"]
    return Figures(
        done, None, None, gaps["mean"], picked["p50"], picked["p99"], run.cpu_us_per_answer(), watched=run
    )


def aiperf_streams(target: Target, rate: float, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        _write_prompts(prompts, "text", "output_length", 200)
        command = [
            installed("aiperf"),
            "profile",
            "--model",
            MODEL,
            "--url",
            target.url.rstrip("/"),
            "--endpoint-type",
            "chat",
        ]
        command += ["--streaming", "--request-rate", f"{rate:g}", "--arrival-pattern", "constant"]
        command += ["--benchmark-duration", f"{seconds:g}", "--benchmark-grace-period", "30"]
        command += [
            "--input-file",
            str(prompts),
            "--custom-dataset-type",
            "single_turn",
            "--use-server-token-count",
        ]
        command += [
            "--tokenizer",
            str(_tokenizer()),
            "--ui",
            "none",
            "--no-gpu-telemetry",
            "--no-server-metrics",
        ]
        run = watched([*command, "--output-artifact-dir", folder], target)
        report = json.loads((Path(folder) / "profile_export_aiperf.json").read_bytes())
    gaps = report["inter_chunk_latency"]
    done = report["request_throughput"]["avg"]
    return Figures(
        done, None, None, gaps["avg"], gaps["p50"], gaps["p99"], run.cpu_us_per_answer(), watched=run
    )


def _write_prompts(path: Path, text: str, tokens: str, count: int) -> None:
    rows: list[dict[str, Any]] = [
        {text: f"question {index} about the weather", tokens: TOKENS} for index in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


def _tokenizer() -> Path:
    """AIPerf wants a tokenizer even when the server counts; a small one, since its own would be downloaded."""
    from benchmarks.load import model_folder

    folder = HOME / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(model_folder() / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"}'
    )
    return folder


def _quantile(ordered: list[float], q: float) -> float | None:
    return ordered[int(q * (len(ordered) - 1))] if ordered else None


CLOSED: dict[str, Tester] = {
    "wrk": wrk_closed,
    "paceline": ours_closed,
    "aiohttp": aiohttp_closed,
    "locust": locust_closed,
    "k6": k6_closed,
}
OPEN: dict[str, Tester] = {
    "paceline": ours_open,
    "wrk2": wrk2_open,
    "k6": k6_open,
    "hey": hey_open,
    "locust": locust_open,
    "aiohttp": aiohttp_open,
}
STREAMS: dict[str, Tester] = {
    "paceline": ours_streams,
    "guidellm": guidellm_streams,
    "aiperf": aiperf_streams,
}
