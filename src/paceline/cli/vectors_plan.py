"""`paceline vectors plan`: what a collection would need, before there is one."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from paceline.base.errors import ConfigError, InvalidRequest
from paceline.cli.console import say
from paceline.cli.vectors_collections import Json

plan = App(
    name="plan",
    help_epilogue="Examples:\n\n"
    "    paceline vectors plan --vectors 100M --dimensions 384 --shards 20\n"
    "    paceline vectors plan --vectors 5M --dimensions 768 --ram-gb 32 --cores 8\n"
    "    paceline vectors plan --vectors 1B --dimensions 128 --shards 200",
)

_SCALES = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9}


@plan.default
def plan_collection(  # noqa: PLR0913 - the options of the command
    *,
    vectors: Annotated[str, Parameter(help="How many: 1000000, 1M, 2.5B.")],
    dimensions: Annotated[int, Parameter(help="Numbers of a vector.")],
    shards: Annotated[int, Parameter(help="Parts that are searched in parallel.")] = 1,
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "binary"],
        Parameter(help="How the vectors that are searched are held."),
    ] = "int8",
    rescore: Annotated[
        Literal["none", "fp16", "bf16", "fp32"], Parameter(help="The finer copy of each vector.")
    ] = "fp16",
    m: Annotated[int, Parameter(name=["--m", "-m"], help="Neighbours of a vector in the graph.")] = 16,
    id_bytes: Annotated[int, Parameter(help="Bytes of an id.")] = 16,
    metadata_bytes: Annotated[int, Parameter(help="Bytes of a record's metadata.")] = 0,
    ram_gb: Annotated[float, Parameter(help="Memory of a host in GiB.")] = 64.0,
    cores: Annotated[int, Parameter(help="Cores of a host.")] = 16,
    json: Json = False,
) -> None:
    """Tell memory, disk, time and hosts that a collection would need, and what they are made of."""
    from paceline.vectors import capacity  # noqa: PLC0415 - numpy

    try:
        found = capacity.plan(
            counted(vectors),
            dimensions,
            shards=shards,
            precision=precision,
            rescore=rescore,
            m=m,
            id_bytes=id_bytes,
            metadata_bytes=metadata_bytes,
            ram_gb=ram_gb,
            cores=cores,
        )
    except InvalidRequest as error:
        raise ConfigError(error.message, param=error.param) from error
    say(msgspec.json.encode(found).decode() if json else found.text())


def counted(text: str) -> int:
    """`100M` as a number. Raises ConfigError."""
    found = re.fullmatch(r"([\d,_]+(?:\.\d+)?)([KMBG]?)", text.strip().upper())
    if found is None:
        raise ConfigError(f"--vectors {text}: expected a number, as 1000000, 1M or 2.5B", param="vectors")
    return round(float(re.sub("[,_]", "", found[1])) * _SCALES[found[2]])
