"""`paceline knobs`: the settings that can be turned, what each costs, and what a running server has."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from paceline.base.admin_api import SettingsState, SettingState
from paceline.base.errors import ConfigError, PacelineError, Unauthorised, Unreachable
from paceline.cli.console import say, say_note

if TYPE_CHECKING:
    import httpx

TOKEN_VARIABLE: Final = "PACELINE_ADMIN__TOKEN"  # noqa: S105 - its name, not its value

command = App(
    name="knobs",
    help_epilogue="Examples:\n\n"
    "    paceline knobs                    what the tuner turns, and what it tries\n"
    "    paceline knobs --all --json       every setting, for programs\n"
    "    PACELINE_ADMIN__TOKEN=secret paceline knobs --url http://localhost:8080\n\n"
    "`live` takes effect on a running server, `restart` when it starts. What `changes` answers is for a quality gate to "
    "judge. The cost is what a larger or another value spends. A server shows its settings when it has `admin.token`.",
)


@command.default
def knobs(
    *,
    all_: Annotated[
        bool,
        Parameter(name="--all", negative="", show_default=False, help="Every setting, not only the tuner's."),
    ] = False,
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Print JSON.")] = False,
    url: Annotated[
        str | None, Parameter(help="Show what this server has: http, https or unix address.")
    ] = None,
    token: Annotated[
        str | None, Parameter(help=f"The server's `admin.token`; else {TOKEN_VARIABLE}.")
    ] = None,
) -> None:
    """List the settings that the tuner turns: values, unit, when they take effect, what they cost."""
    state = _defaults() if url is None else _ask(url, token or os.environ.get(TOKEN_VARIABLE, ""))
    shown = [setting for setting in state.settings if all_ or setting.tune]
    if json:
        say(msgspec.json.encode(msgspec.structs.replace(state, settings=shown)).decode())
        return
    say(table(shown, running=url is not None))
    if state.lease is not None:
        lease = state.lease
        say_note(f"on trial by {lease.holder}, back in {lease.expires_in_s:.1f} s unless they renew it")


def table(settings: list[SettingState], *, running: bool) -> str:
    """One line a setting; of a running server with its value."""
    rows: list[tuple[str, ...]] = [
        ("name", "type", "values", "unit", "takes effect", "answers", "costs", "default")
    ]
    if running:
        rows = [(*rows[0], "value")]
    for one in settings:
        row: tuple[str, ...] = (
            one.name,
            one.type,
            _values(one),
            one.unit or "",
            "live" if one.live else "restart",
            "changes" if one.quality else "same",
            one.cost,
            _spelled(one.default),
        )
        rows.append((*row, _spelled(one.value)) if running else row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _values(one: SettingState) -> str:
    """What the tuner tries, else what the setting takes."""
    return ", ".join(map(_spelled, one.grid)) if one.grid else one.range


def _spelled(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _defaults() -> SettingsState:
    from paceline.app.live import states  # noqa: PLC0415 - the whole tree, which `--help` does not need
    from paceline.settings import Settings  # noqa: PLC0415

    return SettingsState(0, None, states(Settings()))


def _ask(url: str, token: str) -> SettingsState:
    """What the server has. Raises Unreachable, Unauthorised, ConfigError."""
    if not token:
        raise ConfigError(
            f"--url needs the server's admin.token: give --token, or {TOKEN_VARIABLE} in the environment",
            param="token",
        )
    import httpx  # noqa: PLC0415 - only who asks a server pays for it

    from paceline.client.messages import Address  # noqa: PLC0415

    address = Address.parse(url)
    transport = httpx.HTTPTransport(uds=address.uds) if address.uds else None
    try:
        with httpx.Client(transport=transport, timeout=10.0) as client:
            reply = client.get(f"{address.url}/admin/settings", headers={"authorization": f"Bearer {token}"})
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{url} does not answer ({error}); is the server running there?") from None
    if reply.status_code != httpx.codes.OK:
        raise _refusal(url, reply)
    try:
        return msgspec.json.decode(reply.content, type=SettingsState)
    except msgspec.MsgspecError as error:
        raise PacelineError(
            f"{url} answers with something else than settings ({error}); is it Paceline?"
        ) from None


def _refusal(url: str, reply: httpx.Response) -> PacelineError:
    if reply.status_code == 404:
        return PacelineError(
            f"{url} shows no settings; start it with --set admin.token=... to switch /admin on"
        )
    if reply.status_code == 401:
        return Unauthorised(f"{url} does not know this token; give its admin.token with --token")
    return PacelineError(f"{url} answers {reply.status_code} to /admin/settings; see its log")
