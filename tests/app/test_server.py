"""The whole product as its users meet it: a process, real sockets, the real model, the official clients."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from running import running

from paceline.client import Client

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0)


def metric(url: str, name: str) -> float:
    page = httpx.get(url + "/metrics").text
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in page.splitlines()
        if line.split("{")[0].split(" ")[0] == name
    )


# -- the official client ------------------------------------------------------------------------------------------


def test_the_openai_client_gets_vectors_that_mean_something(client):
    reply = client.embeddings.create(
        model=MODEL, input=["a red bicycle", "a crimson bike", "quarterly tax report"]
    )
    vectors = np.array([row.embedding for row in reply.data])
    close, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]

    assert (3, 384) == vectors.shape
    assert close > 0.6
    assert far < 0.2
    assert [0, 1, 2] == [row.index for row in reply.data]
    assert reply.usage.prompt_tokens == reply.usage.total_tokens > 0


def test_floats_and_base64_are_the_same_vector(client):
    floats = client.embeddings.create(model=MODEL, input="same", encoding_format="float").data[0].embedding
    packed = client.embeddings.create(model=MODEL, input="same").data[0].embedding

    assert np.float32(floats).tobytes() == np.float32(packed).tobytes()


def test_fewer_dimensions_are_the_first_ones_normalised_again(client):
    whole = np.array(client.embeddings.create(model=MODEL, input="cut me").data[0].embedding)
    cut = np.array(client.embeddings.create(model=MODEL, input="cut me", dimensions=64).data[0].embedding)

    assert np.allclose(cut, whole[:64] / np.linalg.norm(whole[:64]), atol=1e-6)


def test_token_arrays_are_what_the_text_would_be(server, client):
    from paceline.embed.folder import open_folder
    from paceline.embed.tokens import Tokens

    ids = Tokens(open_folder("demo")).encode(["a red bicycle"])[0].ids.tolist()
    one = client.embeddings.create(model=MODEL, input=ids).data
    two = client.embeddings.create(model=MODEL, input=[ids, ids]).data
    text = client.embeddings.create(model=MODEL, input="a red bicycle").data

    assert 1 == len(one)
    assert 2 == len(two)
    assert np.allclose(one[0].embedding, text[0].embedding, atol=1e-5)


def test_the_model_is_listed(client):
    (card,) = client.models.list().data

    assert MODEL == card.id
    assert MODEL == client.models.retrieve(MODEL).id


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model": "gpt-9", "input": "x"}, openai.NotFoundError),
        ({"model": MODEL, "input": ""}, openai.BadRequestError),
        ({"model": MODEL, "input": []}, openai.BadRequestError),
        ({"model": MODEL, "input": [[0, 30_522]]}, openai.BadRequestError),
        ({"model": MODEL, "input": "x", "dimensions": 385}, openai.BadRequestError),
        ({"model": MODEL, "input": ["x"] * 10_000}, openai.APIStatusError),
    ],
)
def test_the_openai_client_raises_its_own_errors_with_our_words(client, arguments, error):
    with pytest.raises(error) as raised:
        client.embeddings.create(**arguments)

    assert raised.value.body["message"].count("\n") == 0
    assert any(word in raised.value.body["message"] for word in (";", "see"))  # the way out


def test_what_was_cut_is_reported_and_can_be_refused(server):
    long = "word " * 1000
    reply = httpx.post(server.url + "/v1/embeddings", json={"input": ["short", long]})
    no = httpx.post(server.url + "/v1/embeddings", json={"input": ["short", long], "truncate": False})
    again = httpx.post(server.url + "/v1/embeddings", json={"input": [long], "truncate": False})

    assert [1] == reply.json()["truncated"]
    assert (413, "input[1]") == (no.status_code, no.json()["param"])
    assert (413, "input[0]") == (again.status_code, again.json()["param"])  # from the cache as well


def test_infer_embeds_too(server):
    infer = httpx.post(server.url + "/v1/infer", json={"task": "embed", "input": "hello"}).json()
    plain = httpx.post(server.url + "/v1/embeddings", json={"input": "hello"}).json()

    assert plain["data"] == infer["data"]


# -- flow ---------------------------------------------------------------------------------------------------------


def test_a_thousand_identical_requests_at_once_run_the_model_once(state_dir):
    # A lone request is slow enough to be shared when it is long; the engine is kept busy first so that all meet.
    with running(state_dir=state_dir) as server:
        before = metric(server.url, "paceline_queue_rows_total")
        body = json.dumps({"input": "one and the same " * 60}).encode()
        port = int(server.url.rsplit(":", 1)[1])
        request = b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (
            len(body),
            body,
        )
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
        for connection in connections:
            connection.sendall(request)
        statuses = [connection.recv(12) for connection in connections]
        for connection in connections:
            connection.close()
        after = metric(server.url, "paceline_queue_rows_total")

    assert [b"HTTP/1.1 200"] * 1000 == statuses
    assert 1 == after - before


def test_the_second_answer_comes_from_memory_and_says_so(server):
    texts = {"input": f"only once {time.time_ns()}"}
    first = httpx.post(server.url + "/v1/embeddings", json=texts)
    second = httpx.post(server.url + "/v1/embeddings", json=texts)

    assert ("miss", "l1") == (first.headers["x-paceline-cache"], second.headers["x-paceline-cache"])
    assert "run;dur=" in first.headers["server-timing"]


def test_callers_who_hang_up_leave_the_queue(server):
    port = int(server.url.rsplit(":", 1)[1])
    connections = []
    for index in range(100):
        body = json.dumps({"input": f"{index} " * 200}).encode()
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(
            b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        connections.append(connection)
    for connection in connections:
        connection.close()
    deadline = time.monotonic() + 30
    while metric(server.url, "paceline_queue_depth") and time.monotonic() < deadline:
        time.sleep(0.05)  # a real server in another process: there is no clock to jump

    assert 0 == metric(server.url, "paceline_queue_depth")
    assert metric(server.url, "paceline_queue_departed_total") > 50


def test_an_expired_deadline_is_a_504_and_the_server_goes_on(server):
    late = httpx.post(
        server.url + "/v1/embeddings",
        json={"input": [f"{index} " * 200 for index in range(200)]},
        headers={"x-request-timeout-ms": "50"},
    )
    fine = httpx.post(server.url + "/v1/embeddings", json={"input": "still there?"})

    assert late.status_code in {503, 504}  # refused because it cannot be in time, or not in time
    assert late.json()["code"] in {"overloaded", "deadline_exceeded"}
    assert 200 == fine.status_code


# -- life ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
def test_a_request_under_way_is_answered_when_the_server_is_told_to_stop(state_dir, workers):
    with running(f"serve.workers={workers}", state_dir=state_dir) as server:
        texts = [f"{index} " * 200 for index in range(60)]
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            call = pool.submit(httpx.post, server.url + "/v1/embeddings", json={"input": texts}, timeout=60)
            while not metric(server.url, "paceline_queue_depth") and not call.done():
                time.sleep(0.02)
            status = server.stop()
            reply = call.result()

    assert 200 == reply.status_code, reply.text
    assert 60 == len(reply.json()["data"])
    assert 0 == status


def test_ctrl_c_stops_quietly(state_dir):
    with running(state_dir=state_dir) as server:
        assert 0 == server.stop(signal.SIGINT)
        assert "Traceback" not in server.process.stderr.read()


def test_workers_share_one_engine_one_limit_and_one_page_of_metrics(state_dir):
    with running("serve.workers=3", "limits.rpm=100", "serve.drain_s=1", state_dir=state_dir) as server:

        def ask(index):
            return httpx.post(server.url + "/v1/embeddings", json={"input": f"text {index % 10}"}).status_code

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(ask, range(140)))
        time.sleep(1.5)  # the other processes write their counts every second
        counted = metric(server.url, "paceline_embed_texts_total")

    assert 100 == statuses.count(200)
    assert 40 == statuses.count(429)
    assert 100 == counted


def test_a_killed_worker_and_a_killed_engine_come_back(state_dir):
    import psutil

    with running("serve.workers=2", "cache.enabled=false", state_dir=state_dir) as server:
        for victim in psutil.Process(server.process.pid).children():
            if "spawn_main" not in " ".join(victim.cmdline()):
                continue  # the resource tracker
            victim.kill()
            deadline = time.monotonic() + 60
            statuses = []
            while time.monotonic() < deadline and statuses[-3:] != [200] * 3:
                try:
                    statuses.append(
                        httpx.post(server.url + "/v1/embeddings", json={"input": "x"}, timeout=10).status_code
                    )
                except httpx.TransportError:
                    statuses.append(0)
                time.sleep(0.1)

            assert [200] * 3 == statuses[-3:]


def test_the_disk_tier_outlives_the_server(state_dir, tmp_path):
    settings = ("cache.l2.enabled=true", f"cache.l2.path={tmp_path}")
    with running(*settings, state_dir=state_dir) as server:
        httpx.post(server.url + "/v1/embeddings", json={"input": "remember me"})
        server.stop()
    with running(*settings, state_dir=state_dir) as server:
        again = httpx.post(server.url + "/v1/embeddings", json={"input": "remember me"})

    assert "l2" == again.headers["x-paceline-cache"]


@pytest.mark.redis
def test_two_servers_share_redis_and_survive_its_death(state_dir, redis_process):
    settings = (
        "cache.l3.enabled=true",
        "cache.l3.budget_ms=500",
        "limits.backend=redis",
        "limits.rpm=1000",
        f"redis.url={redis_process.url}",
    )
    with running(*settings, state_dir=state_dir) as one, running(*settings, state_dir=state_dir) as two:
        first = httpx.post(one.url + "/v1/embeddings", json={"input": "shared by hosts"})
        second = httpx.post(two.url + "/v1/embeddings", json={"input": "shared by hosts"})
        redis_process.stop()
        third = httpx.post(two.url + "/v1/embeddings", json={"input": "Redis is gone"})
        health = httpx.get(two.url + "/health").json()

    assert ("miss", "l3") == (first.headers["x-paceline-cache"], second.headers["x-paceline-cache"])
    assert 200 == third.status_code
    assert "ok" != health["redis"]["status"] if "redis" in health else True


def test_a_unix_socket_serves_our_client(state_dir, tmp_path):
    path = tmp_path / "s"
    with running(f"serve.uds={path}", state_dir=state_dir) as server:
        assert f"unix://{path}" == server.url
        with Client(server.url) as ours:
            assert (1, 384) == ours.embed("over a unix socket").vectors.shape


def test_tls_serves_a_client_that_trusts_the_certificate(state_dir, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            cert,
        ],
        check=True,
        capture_output=True,
    )
    with running(f"tls.cert_file={cert}", f"tls.key_file={key}", state_dir=state_dir) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=cert)
        with Client(server.url, verify=context) as ours:
            assert (1, 384) == ours.embed("over TLS").vectors.shape


def test_many_threads_of_our_client_share_one_connection_pool(server):
    with Client(server.url) as ours:
        shapes = []
        threads = [
            threading.Thread(target=lambda i=i: shapes.append(ours.embed(f"thread {i}").vectors.shape))
            for i in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [(1, 384)] * 20 == shapes


def test_the_example_corpus_is_there():
    assert 6000 == len(
        Path(__file__).parents[2].joinpath("examples/wordnet/glosses.tsv").read_text("utf-8").splitlines()
    )


def test_a_house_without_a_model_still_answers(state_dir):
    with running("embed.model=", "serve.workers=2", state_dir=state_dir) as server:
        ready = httpx.get(server.url + "/health/ready")
        none = httpx.post(server.url + "/v1/embeddings", json={"input": "x"})

    assert 200 == ready.status_code
    assert (404, "not_found") == (none.status_code, none.json()["code"])
    assert "embed.model" in none.json()["detail"]


def test_redis_away_at_the_start_is_reported_and_serves(state_dir):
    settings = (
        "cache.l3.enabled=true",
        "limits.backend=redis",
        "limits.rpm=1000",
        "redis.url=redis://127.0.0.1:1/0",
    )
    with running(*settings, state_dir=state_dir) as server:
        reply = httpx.post(server.url + "/v1/embeddings", json={"input": "nobody keeps this"})
        health = httpx.get(server.url + "/health").json()

    assert 200 == reply.status_code
    assert "ok" != health["redis"]["status"]
