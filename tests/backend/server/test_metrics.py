"""`serve --metrics`: what a real server process tells Prometheus, and that nobody who asks can hold it up."""

from __future__ import annotations

import http.client
import socket
import time

import pytest
from support.server_harness import CLIENT_KEYS, connected_client, progress_until, raw_client
from support.worker_server import served

from backend.protocol.settings import FitSettings
from backend.protocol.status import BackendStatus, JobStatus, WorkerStatus
from backend.server.address_file import ServerError
from backend.server.metrics import MOST_CONNECTIONS, PATIENCE_S, Metrics, metrics_text


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def get(port: int, path: str = "/metrics", method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return response.status, response.read().decode()


def numbers(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    folder, options = tmp_path_factory.mktemp("served"), {"metrics_port": free_port()}
    plan = {"run_job": "support.worker_jobs:count_up", "find_device": "builtins:dict"}
    with served(folder, options=options, **plan) as server:
        server.address  # noqa: B018 (waits until it listens)
        yield server, options["metrics_port"]


def test_prometheus_gets_numbers_without_names(backend):
    server, port = backend
    with connected_client(server.address) as client:
        client.submit(FitSettings(), {})
        progress_until(client, lambda event: event.iteration > 0)
        deadline = time.monotonic() + 5
        while (found := numbers(get(port)[1]))['pbrfit_jobs{state="running"}'] != 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert found["pbrfit_clients"] == 1
        assert found['pbrfit_worker_memory_bytes{device="auto"}'] > 1 << 20
        assert found['pbrfit_device_busy{device="auto"}'] == 1
        assert found["pbrfit_status_age_seconds"] < 5
        assert CLIENT_KEYS.public not in get(port)[1]
    with raw_client(server.address) as raw:
        raw.send([b"nonsense"])
        raw.receive()
        time.sleep(0.7)
    assert numbers(get(port)[1])['pbrfit_dropped_total{code="malformed"}'] == 1


def test_only_this_machine_and_only_the_metrics(backend):
    _, port = backend
    assert get(port, "/")[0] == 404
    assert get(port, method="POST")[0] == 405
    assert get(port, Host="evil.example:80")[0] == 403
    assert get(port, Host=f"localhost:{port}")[0] == 200
    other = socket.gethostbyname(socket.gethostname())
    if not other.startswith("127."):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((other, port), 1)


def test_those_who_ask_slowly_hold_up_neither_the_server_nor_each_other_for_long(backend):
    server, port = backend
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * MOST_CONNECTIONS)]
    for connection in slow:
        connection.sendall(b"GET /metrics HTTP/1.1\r\n")
    with raw_client(server.address) as raw:
        worst, ends = 0.0, time.monotonic() + 1.0
        while time.monotonic() < ends:
            began = time.monotonic()
            raw.request("ping")
            worst = max(worst, time.monotonic() - began)
    assert worst < 0.5
    time.sleep(PATIENCE_S)
    assert get(port)[0] == 200
    for connection in slow:
        connection.close()


def test_a_port_that_is_taken_is_an_error_with_cure():
    first = Metrics(0)
    with pytest.raises(ServerError, match="--metrics"):
        Metrics(first.port)
    first.close()
    Metrics(first.port).close()


def test_labels_are_escaped_and_unknown_values_left_out():
    status = BackendStatus('a"\\\n', jobs=(JobStatus(state="queued"),), workers=(WorkerStatus(device="cpu"),))
    text = metrics_text(status)
    assert 'version="a\\"\\\\\\n"' in text
    assert "device_memory" not in text
    assert numbers(text)['pbrfit_jobs{state="queued"}'] == 1
    assert "device_info" not in text


def test_devices_are_listed_with_their_models_jobs_and_memory():
    busy = WorkerStatus(7, 2, "", 10, 20, "cuda:0", 'A "GPU"', "job", 5, 1.5, 3, 40)
    found = numbers(metrics_text(BackendStatus(workers=(busy, WorkerStatus(device="cpu", device_name="CPU")))))
    assert found['pbrfit_device_info{device="cuda:0",name="A \\"GPU\\""}'] == 1
    names = ("worker_up", "worker_losses_total", "worker_memory_bytes", "device_memory_bytes", "device_busy")
    names += ("device_jobs_total", "device_busy_seconds_total", "device_previews", "worker_memory_limit_bytes")
    values = [found[f'pbrfit_{name}{{device="cuda:0"}}'] for name in names]
    assert values == [1, 2, 10, 20, 1, 5, 1.5, 3, 40]
    assert found['pbrfit_device_busy{device="cpu"}'] == 0
    assert 'pbrfit_worker_memory_bytes{device="cpu"}' not in found
