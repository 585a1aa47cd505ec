"""`/admin` on a composed application without a model, on virtual time."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from paceline.app.server import open_application
from paceline.base.errors import ConfigError
from paceline.settings import iter_knobs, load

TOKEN = {"authorization": "Bearer adm"}
SIZE = "embed.batch.max_size"


@asynccontextmanager
async def house(tmp_path, *sets):
    """A client of an application with a token, and its audit log."""
    given = ["embed.model=", f"serve.state_dir={tmp_path}", f"admin.audit_log={tmp_path}/audit.jsonl"]
    settings = load(environ={}, sets=[*given, "admin.token=adm", *sets]).settings
    async with (
        open_application(settings) as application,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(application), base_url="http://house", headers=TOKEN
        ) as client,
    ):
        yield client


def audit(tmp_path):
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


async def value(client, name=SIZE):
    state = (await client.get("/admin/settings")).json()
    return next(setting["value"] for setting in state["settings"] if setting["name"] == name)


def test_without_a_token_in_the_settings_there_is_no_such_path(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path, "admin.token=") as client:
            replies = [
                await client.get("/admin/settings"),
                await client.patch("/admin/settings", json={"changes": {}}),
                await client.get("/admin/batches"),
                await client.delete("/admin/settings/lease/x"),
            ]
            return replies, (await client.get("/openapi.json")).json()

    replies, described = run_virtual(scenario())

    assert {(reply.status_code, reply.json()["code"]) for reply in replies} == {(404, "not_found")}
    assert not [path for path in described["paths"] if path.startswith("/admin")]


@pytest.mark.parametrize("header", [{"authorization": ""}, {"authorization": "Bearer user"}])
def test_only_its_own_token_opens_it(tmp_path, run_virtual, header):
    async def scenario():
        async with house(tmp_path, "auth.token=user") as client:
            return [
                await client.request(method, path, headers=header)
                for method, path in (
                    ("GET", "/admin/settings"),
                    ("PATCH", "/admin/settings"),
                    ("POST", "/admin/settings/lease/x"),
                    ("DELETE", "/admin/settings/lease/x"),
                    ("POST", "/admin/settings/lease/x/keep"),
                    ("GET", "/admin/batches"),
                )
            ] + [await client.get("/v1/models")]

    replies = run_virtual(scenario())

    assert {(reply.status_code, reply.json()["code"]) for reply in replies} == {(401, "unauthorised")}
    assert replies[0].headers["www-authenticate"].startswith("Bearer")


def test_a_token_that_callers_have_too_is_refused():
    with pytest.raises(ConfigError, match=r"admin.token = \*\*\* .*the same token as auth.tokens.ann"):
        load(environ={}, sets=["admin.token=x", "auth.tokens.ann=x"])


def test_every_setting_is_shown_and_no_secret(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path, "auth.tokens.ann=hush", "embed.batch.max_size=5") as client:
            return await client.get("/admin/settings")

    reply = run_virtual(scenario())
    state = reply.json()
    shown = {setting["name"]: setting for setting in state["settings"]}

    assert "hush" not in reply.text
    assert (state["version"], state["lease"]) == (0, None)
    assert list(shown) == [knob.name for knob in iter_knobs()]
    assert (shown["auth.tokens"]["value"], shown["admin.token"]["value"]) == ("***", "***")
    assert shown[SIZE] == {
        "name": SIZE,
        "value": 5,
        "default": 32,
        "type": "integer",
        "live": True,
        "tune": True,
        "quality": False,
        "unit": "rows",
        "range": "1..4096",
        "grid": [1, 2, 4, 8, 16, 32, 64],
        "cost": "latency",
    }


def test_a_change_without_a_lease_is_in_force_and_in_the_audit(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path) as client:
            reply = await client.patch("/admin/settings", json={"changes": {SIZE: 8, "serve.timeout_s": 9}})
            return reply.json(), await value(client)

    reply, after = run_virtual(scenario())
    changed = {"serve.timeout_s": {"old": 30.0, "new": 9.0}, SIZE: {"old": 32, "new": 8}}

    assert reply == {"version": 1, "changed": changed, "lease": None}
    assert after == 8
    (line,) = audit(tmp_path)
    assert line.pop("at") > 1.7e9
    assert line == {
        "event": "change",
        "who": "admin@127.0.0.1",
        "version": 1,
        "lease": None,
        "changed": changed,
    }


def test_a_trial_that_nobody_renews_goes_back_by_itself(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path) as client:
            change = {"changes": {SIZE: 8}, "lease_s": 10}
            lease = (await client.patch("/admin/settings", json=change)).json()["lease"]
            await asyncio.sleep(6)
            renewed = await client.post(f"/admin/settings/lease/{lease['id']}", json={"lease_s": 10})
            await asyncio.sleep(9.9)
            during = await value(client)
            state = (await client.get("/admin/settings")).json()
            await asyncio.sleep(0.2)  # nobody asks: the timer alone ends it
            written = audit(tmp_path)
            return lease, renewed.json(), during, state, written, await value(client)

    lease, renewed, during, state, written, after = run_virtual(scenario())

    assert (lease["expires_in_s"], lease["holder"]) == (10.0, "admin@127.0.0.1")
    assert (renewed["lease"]["expires_in_s"], renewed["changed"]) == (10.0, {})
    assert state["lease"]["expires_in_s"] == pytest.approx(0.1)
    assert (during, after) == (8, 32)
    assert [(line["event"], line["lease"], line["changed"][SIZE]) for line in written] == [
        ("change", lease["id"], {"old": 32, "new": 8}),
        ("expire", lease["id"], {"old": 8, "new": 32}),
    ]


def test_a_trial_ends_when_it_is_told_to(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path) as client:
            trial = {"changes": {SIZE: 8}, "lease_s": 10}
            one = (await client.patch("/admin/settings", json=trial)).json()["lease"]["id"]
            more = {"changes": {"embed.batch.max_cost": 64}, "lease": one}
            await client.patch("/admin/settings", json=more)
            back = (await client.delete(f"/admin/settings/lease/{one}")).json()
            two = (await client.patch("/admin/settings", json=trial)).json()["lease"]["id"]
            kept = (await client.post(f"/admin/settings/lease/{two}/keep")).json()
            await asyncio.sleep(20)
            return back, kept, await value(client)

    back, kept, after = run_virtual(scenario())

    assert back["changed"] == {
        SIZE: {"old": 8, "new": 32},
        "embed.batch.max_cost": {"old": 64, "new": 0},
    }
    assert kept == {"version": 4, "changed": {SIZE: {"old": 32, "new": 8}}, "lease": None}
    assert after == 8
    assert [line["event"] for line in audit(tmp_path)] == ["change", "change", "revert", "change", "keep"]


def test_others_are_told_when_the_trial_ends(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path) as client:
            await client.patch("/admin/settings", json={"changes": {SIZE: 8}, "lease_s": 10})
            await asyncio.sleep(2.5)
            return await client.patch("/admin/settings", json={"changes": {SIZE: 4}})

    reply = run_virtual(scenario())

    assert (reply.status_code, reply.json()["code"], reply.headers["retry-after"]) == (409, "lease_held", "8")
    assert reply.json()["retry_after_s"] == pytest.approx(7.5, abs=0.01)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("PATCH", "", {"changes": {"embed.streams": 2}}, 409, "not_live", "embed.streams"),
        ("PATCH", "", {"changes": {SIZE: 0}}, 400, "setting_refused", SIZE),
        ("PATCH", "", {"changes": {"nosuch": 0}}, 400, "setting_refused", "nosuch"),
        ("PATCH", "", {"changes": {}, "lease_s": 0.4}, 400, "invalid_request", "lease_s"),
        ("PATCH", "", {"changes": {}, "lease_s": 3601}, 400, "invalid_request", "lease_s"),
        ("PATCH", "", {"change": {}}, 400, "invalid_request", None),
        ("PATCH", "", {"changes": {}, "lease": "x"}, 404, "lease_unknown", "lease"),
        ("PATCH", "", "x" * (1 << 20), 413, "payload_too_large", None),
        ("POST", "/lease/x", {"lease_s": 1}, 404, "lease_unknown", "lease"),
        ("POST", "/lease/x", {}, 400, "invalid_request", None),
        ("POST", "/lease/x/keep", None, 404, "lease_unknown", "lease"),
        ("DELETE", "/lease/x", None, 404, "lease_unknown", "lease"),
        ("PUT", "", None, 405, "method_not_allowed", None),
        ("GET", "/lease/x", None, 405, "method_not_allowed", None),
    ],
)
def test_what_cannot_be_is_a_problem_with_its_own_code(
    tmp_path, run_virtual, method, path, body, status, code, param
):
    async def scenario():
        async with house(tmp_path) as client:
            reply = await client.request(method, f"/admin/settings{path}", json=body)
            return reply, (await client.get("/admin/settings")).json()["version"]

    reply, version = run_virtual(scenario())

    assert (reply.status_code, reply.json()["code"], reply.json().get("param")) == (status, code, param)
    assert version == 0


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"changes": {"serve.timeout_s": float("nan")}}, "serve.timeout_s"),
        ({"changes": {"limits.endpoints": {1: {"rpm": 5}}}}, "limits.endpoints"),
        ({"changes": {SIZE: b"8"}}, SIZE),
        ({"changes": {SIZE: 8}, "lease_s": float("nan")}, "lease_s"),
        ({"changes": {SIZE: 8}, "lease_s": float("inf")}, "lease_s"),
    ],
)
def test_what_only_messagepack_can_say_is_refused_too(tmp_path, run_virtual, body, param):
    async def scenario():
        async with house(tmp_path) as client:
            content, kind = msgspec.msgpack.encode(body), {"content-type": "application/msgpack"}
            return await client.patch("/admin/settings", content=content, headers=kind), await value(client)

    reply, after = run_virtual(scenario())

    assert (reply.status_code, reply.json()["param"], after) == (400, param, 32)


@pytest.mark.parametrize("since", ["-1", "x", "1.5", "9" * 16, "²"])
def test_batches_are_asked_for_by_number(tmp_path, run_virtual, since):
    async def scenario():
        async with house(tmp_path) as client:
            return await client.get("/admin/batches"), await client.get(
                "/admin/batches", params={"since": since}
            )

    fine, wrong = run_virtual(scenario())

    assert fine.json() == {"next": 0, "batches": []}
    assert (wrong.status_code, wrong.json()["param"]) == (400, "since")


def test_an_audit_log_that_cannot_be_written_is_said_before_anything_starts(tmp_path, run_virtual):
    async def scenario():
        async with house(tmp_path, "admin.audit_log=/no/such/folder/log"):
            raise AssertionError("it started")

    with pytest.raises(ConfigError, match=r"admin.audit_log = '/no/such/folder/log': No such file"):
        run_virtual(scenario())


def test_without_a_file_the_audit_goes_to_the_log(tmp_path, run_virtual, caplog):
    async def scenario():
        async with house(tmp_path, "admin.audit_log=") as client:
            await client.patch("/admin/settings", json={"changes": {SIZE: 8}})

    run_virtual(scenario())

    (record,) = [record for record in caplog.records if record.name == "paceline.audit"]
    assert json.loads(record.getMessage())["changed"] == {SIZE: {"old": 32, "new": 8}}


def test_a_full_disk_loses_no_line_of_the_audit(tmp_path, run_virtual, caplog):
    async def scenario():
        async with house(tmp_path, "admin.audit_log=/dev/full") as client:
            return await client.patch("/admin/settings", json={"changes": {SIZE: 8}})

    reply = run_virtual(scenario())

    assert reply.status_code == 200
    assert "No space left on device" in caplog.text
    assert '"new":8' in caplog.text
