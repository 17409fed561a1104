"""A backend with two worker processes: jobs side by side, and one that is lost takes only its own job.

With PBRFIT_TEST_LONG=1 processes are killed at 20 random points in place of two.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import replace
from random import Random

import pytest
from support.fit_scenes import ball_dataset, job_inputs, submit_ball
from support.preview_harness import even_scene, preview_client, request
from support.server_harness import (
    FIT_PATIENCE_S,
    PATIENCE_S,
    SERVER_KEYS,
    connected_client,
    progress_until,
    raw_client,
    submit,
    wait_for,
)
from support.worker_server import START_S, TESTS, served, worker_server

from backend.job.run import run_fit_job
from backend.protocol.client.events import Accepted, Disconnected, Failed, Result
from backend.protocol.client.preview_events import MapsChanged, PreviewFrame, SceneReady
from backend.protocol.settings import FitSettings
from backend.protocol.wire import Limits
from backend.worker.plan import WorkerPlan
from backend.worker.process import WorkerProcess

SETTINGS = FitSettings(resolution=64, device="cpu", quality="draft", self_shadowing=False)
CPUS = ("cpu:0", "cpu:1")
TWO = {"devices": ["cpu", "cpu"]}
COUNTING = {"run_job": "support.worker_jobs:count_up", "find_device": "builtins:dict"}
SAME_DB = 0.1
KILLS = 20 if os.environ.get("PBRFIT_TEST_LONG") else 2
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def start_counting(client) -> str:
    client.submit(FitSettings(resolution=16), {})
    job = wait_for(client, Accepted)[-1].job
    progress_until(client, lambda event: event.iteration > 3)
    return job


def until(condition, patience_s: float = PATIENCE_S):
    deadline = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    with served(tmp_path_factory.mktemp("counting"), options=TWO, **COUNTING) as server:
        yield server


def worker_of(server, job: str):
    """What the backend says of the process that has a job."""
    return until(lambda: next((worker for worker in server.status().workers if worker.job == job), None))


def test_two_jobs_run_at_once_and_a_third_waits_for_the_first_that_ends(counting):
    with connected_client(counting.address) as first, connected_client(counting.address) as second:
        jobs = start_counting(first), start_counting(second)
        workers = [worker_of(counting, job) for job in jobs]
        assert {worker.device for worker in workers} == {"cpu:0", "cpu:1"}
        assert len({worker.pid for worker in workers}) == 2
        with connected_client(counting.address) as third:
            third.submit(FitSettings(), {})
            waiting = progress_until(third, lambda event: event.state == "queued")
            assert "1 earlier job" in waiting.message
            second.finish()
            wait_for(second, Result)
            progress_until(third, lambda event: event.iteration > 3)
            before = progress_until(first, lambda event: True).iteration
            progress_until(first, lambda event: event.iteration > before)
            for client in (first, third):
                client.finish()
                wait_for(client, Result)
        status = counting.status()
        assert [worker.job for worker in status.workers] == ["", ""]
        assert sum(worker.jobs for worker in status.workers) >= 3
        assert all(worker.busy_s > 0 for worker in status.workers)


@linux
def test_a_worker_that_is_killed_takes_only_its_own_job_which_goes_on_at_the_free_device(counting):
    with connected_client(counting.address) as other, connected_client(counting.address) as client:
        theirs = worker_of(counting, start_counting(other))
        job = start_counting(client)
        mine = worker_of(counting, job)
        other_at = progress_until(other, lambda event: True).iteration
        os.kill(mine.pid, signal.SIGKILL)
        progress_until(client, lambda event: event.phase == "again", FIT_PATIENCE_S)
        other.finish()  # its device is free before the killed process is there again, or not: either will do
        assert wait_for(other, Result, Failed)[-1].metrics["number"] > other_at
        progress_until(client, lambda event: event.phase == "fitting" and event.iteration > 3, START_S)
        client.finish()
        wait_for(client, Result)
        assert theirs.pid in [worker.pid for worker in counting.status().workers]


@linux
def test_a_job_that_loses_its_process_goes_on_in_another_at_once(counting):
    """It takes seconds until a process has started again; the other one is there."""
    with connected_client(counting.address) as client:
        until(lambda: all(worker.pid for worker in counting.status().workers), START_S)
        job = start_counting(client)
        before = worker_of(counting, job)
        os.kill(before.pid, signal.SIGKILL)
        progress_until(client, lambda event: event.phase == "fitting" and event.iteration > 3)
        after = worker_of(counting, job)
        assert after.device != before.device
        client.finish()
        wait_for(client, Result)


@linux
def test_a_fit_that_loses_its_process_goes_on_from_its_checkpoint_elsewhere_and_the_other_is_undisturbed(tmp_path):
    ball = ball_dataset(8, 48)
    undisturbed = run_fit_job(job_inputs(ball), SETTINGS, lambda _progress: None, lambda: False).metrics
    with (
        served(tmp_path, tmp_path / "kept", options=TWO) as server,
        connected_client(server.address) as client,
        connected_client(server.address) as other,
    ):
        submit_ball(client, ball, SETTINGS)
        job = wait_for(client, Accepted)[-1].job
        submit_ball(other, ball, replace(SETTINGS, seed=3))
        for fit in (client, other):
            progress_until(fit, lambda event: event.iteration > 20, FIT_PATIENCE_S)
        os.kill(worker_of(server, job).pid, signal.SIGKILL)
        theirs, mine = (wait_for(fit, Result, Failed, patience_s=FIT_PATIENCE_S)[-1].metrics for fit in (other, client))
        assert theirs["resumed_at_iteration"] == 0
        assert mine["resumed_at_iteration"] > 0
        for metrics in (theirs, mine):
            assert abs(metrics["fit_heldout_psnr_db"] - undisturbed["fit_heldout_psnr_db"]) < 5 * SAME_DB
        assert abs(mine["fit_heldout_psnr_db"] - undisturbed["fit_heldout_psnr_db"]) < SAME_DB


@linux
def test_processes_that_are_killed_at_random_points_cost_no_client_anything(tmp_path):
    """Three clients fit on two devices, one fit after the other, while one process after the other is killed."""
    random, ball, found = Random(5), ball_dataset(8, 48), []
    enough = threading.Event()

    def fit_again_and_again(address: str) -> None:
        with connected_client(address) as client:
            while not enough.is_set():
                submit_ball(client, ball, SETTINGS)
                found.append(wait_for(client, Result, Failed, Disconnected, patience_s=2 * FIT_PATIENCE_S)[-1])

    with served(tmp_path, tmp_path / "kept", options=TWO) as server:
        clients = [threading.Thread(target=fit_again_and_again, args=(server.address,)) for _ in range(3)]
        for client in clients:
            client.start()
        killed, killed_at = 0, {}
        while killed < KILLS:
            time.sleep(random.uniform(0.5, 4.0))
            status = server.status()
            reached = {job.id: job.iteration for job in status.jobs}
            # A job that gets no further between three losses has failed: that is another test's.
            further = [worker for worker in status.workers if reached.get(worker.job, 0) > killed_at.get(worker.job, 0)]
            if further:
                worker = random.choice(further)
                killed_at[worker.job] = reached[worker.job]
                os.kill(worker.pid, signal.SIGKILL)
                killed += 1
        enough.set()
        for client in clients:
            client.join(3 * FIT_PATIENCE_S)
        assert sum(worker.losses for worker in server.status().workers) == killed
    assert not [event for event in found if not isinstance(event, Result)]
    undisturbed = run_fit_job(job_inputs(ball), SETTINGS, lambda _progress: None, lambda: False).metrics
    off = [event.metrics["fit_heldout_psnr_db"] - undisturbed["fit_heldout_psnr_db"] for event in found]
    resumed = sum(event.metrics["resumed_at_iteration"] > 0 for event in found)
    print(f"{killed} kills, {len(found)} fits, {resumed} from a checkpoint, the worst {min(off):+.2f} dB")
    assert min(off) > -SAME_DB


@linux
def test_a_hung_worker_takes_only_its_own_job(tmp_path):
    with (
        served(tmp_path, options=TWO, hung_s=2.0, **COUNTING) as server,
        connected_client(server.address) as client,
        connected_client(server.address) as other,
    ):
        job, _other_job = start_counting(client), start_counting(other)
        os.kill(worker_of(server, job).pid, signal.SIGSTOP)
        progress_until(client, lambda event: event.phase == "again", START_S)
        progress_until(client, lambda event: event.phase == "fitting" and event.iteration > 3, START_S)
        for counted in (client, other):
            counted.finish()
            wait_for(counted, Result)
        assert sum(worker.losses for worker in server.status().workers) == 1


def test_a_job_that_names_a_gpu_which_is_not_there_is_refused_at_once(counting):
    with raw_client(counting.address) as raw:
        reply = submit(raw, settings={"device": "cuda:0"})
        assert (reply.type, reply.body["code"]) == ("error", "device")
        assert "cpu:0, cpu:1" in reply.body["cause"]


def test_both_processes_end_when_the_backend_drains(tmp_path):
    with (
        served(tmp_path, options=TWO, **COUNTING) as server,
        connected_client(server.address) as client,
        connected_client(server.address) as other,
    ):
        start_counting(client)
        start_counting(other)
        with raw_client(server.address, SERVER_KEYS) as owner:
            assert owner.request("drain").type == "ok"
        for counted in (client, other):
            assert wait_for(counted, Failed, patience_s=FIT_PATIENCE_S)[-1].code == "draining"
            counted.close()
        assert server.process.wait(FIT_PATIENCE_S) == 0


def test_a_scene_is_drawn_where_its_job_runs():
    """Only the process of the job has its maps: a scene that was drawn elsewhere before follows."""
    options = {"limits": Limits()}
    with (
        worker_server("support.worker_drawing:grow", options, devices=CPUS) as server,
        connected_client(server.address) as first,
        connected_client(server.address) as second,
        preview_client(server.address) as preview,
    ):
        previews, slots = server.workers.drawer, server.workers.runner.slots.all
        preview.set_scene(even_scene(0.25), {})
        preview.wait(SceneReady, patience_s=START_S)
        assert previews.counts() == [1, 0]
        jobs = []
        for client in (first, second):
            client.submit(FitSettings(), {})
            jobs.append(wait_for(client, Accepted)[-1].job)
        until(lambda: all(slot.attempt is not None for slot in slots))
        (second_place,) = (slot.number for slot in slots if slot.job.id == jobs[1])
        preview.set_scene(even_scene(0.25, jobs[1]), {})
        preview.wait(SceneReady, patience_s=START_S)
        assert previews.counts()[second_place] == 1
        shades = set()
        for number in range(100):
            preview.request_frame(request(number))
            shades.add(float(preview.wait(PreviewFrame).image[0, 0, 0]))
            if len(shades) > 2:
                break
            preview.wait(MapsChanged)
        assert len(shades) > 2
        for client in (first, second):
            client.finish()
            wait_for(client, Result)


@linux
def test_a_scene_follows_its_job_to_another_process():
    with (
        worker_server("support.worker_drawing:grow", {"limits": Limits()}, devices=CPUS) as server,
        connected_client(server.address) as client,
        preview_client(server.address) as preview,
    ):
        previews, slots = server.workers.drawer, server.workers.runner.slots.all
        client.submit(FitSettings(), {})
        job = wait_for(client, Accepted)[-1].job
        preview.set_scene(even_scene(0.25, job), {})
        preview.wait(SceneReady, patience_s=START_S)
        until(lambda: slots[0].attempt is not None)
        assert previews.counts() == [1, 0]
        os.kill(slots[0].process.pid, signal.SIGKILL)
        until(lambda: slots[1].attempt is not None, START_S)
        assert previews.counts() == [0, 1]
        shades = set()
        for number in range(100):
            preview.request_frame(request(number))
            shades.add(float(preview.wait(PreviewFrame).image[0, 0, 0]))
            if len(shades) > 2:
                break
            preview.wait(MapsChanged)
        assert len(shades) > 2
        client.finish()
        wait_for(client, Result)


def test_a_scene_of_no_job_goes_where_no_job_runs():
    with (
        worker_server("support.worker_drawing:grow", {"limits": Limits()}, devices=CPUS) as server,
        connected_client(server.address) as client,
    ):
        client.submit(FitSettings(), {})
        wait_for(client, Accepted)
        slots = server.workers.runner.slots.all
        until(lambda: slots[0].attempt is not None)
        with preview_client(server.address) as preview, preview_client(server.address) as further:
            for viewer in (preview, further):
                viewer.set_scene(even_scene(0.5), {})
                viewer.wait(SceneReady, patience_s=START_S)
                viewer.request_frame(request(0))
                assert viewer.wait(PreviewFrame).image[0, 0, 0] == 0.5
            assert server.workers.drawer.counts() == [0, 2]
        client.finish()
        wait_for(client, Result)


def test_frames_and_lights_that_wait_follow_a_scene_to_another_process():
    with (
        worker_server("support.worker_drawing:grow", {"limits": Limits()}, devices=CPUS) as server,
        preview_client(server.address) as preview,
    ):
        preview.set_scene(even_scene(0.25), {})
        preview.wait(SceneReady, patience_s=START_S)
        previews = server.workers.drawer
        (session,) = previews._places
        os.kill(server.workers.processes[0].pid, signal.SIGSTOP)  # what is asked of it stays unanswered
        preview.request_frame(request(5))
        until(lambda: previews._drawers[0]._viewers[session].frames)
        previews._drawer(session, 1)
        assert preview.wait(PreviewFrame, patience_s=START_S).image[0, 0, 0] == 0.25
        os.kill(server.workers.processes[0].pid, signal.SIGCONT)


def test_a_process_that_finds_no_gpu_where_it_should_have_one_is_ended():
    """Its jobs would run on the processor, and nobody would know."""
    plan = WorkerPlan(device="cuda:0", find_device="support.worker_jobs:a_processor", python_path=[TESTS, *sys.path])
    process = WorkerProcess(plan)
    try:
        until(lambda: process.losses, START_S)
        assert process.last_loss == "does not find its GPU"
        assert not process.is_ready
    finally:
        process.close(PATIENCE_S)


def test_a_job_gets_the_gpu_that_it_names_and_holds_up_no_other_while_that_is_taken():
    with (
        worker_server("name_the_device", devices=("cuda:0", "cuda:1")) as server,
        connected_client(server.address) as first,
        connected_client(server.address) as second,
        connected_client(server.address) as third,
    ):
        places = server.workers.runner.slots.all
        jobs = []
        for client, device in ((first, "cuda:1"), (second, "cuda:1"), (third, "auto")):
            client.submit(FitSettings(device=device), {})
            jobs.append(wait_for(client, Accepted)[-1].job)
        progress_until(third, lambda event: event.phase == "naming")
        assert [place.job.id for place in places] == [jobs[2], jobs[0]]
        third.finish()
        assert wait_for(third, Result)[-1].metrics["device"] == "auto"
        assert places[0].job is None
        first.finish()
        assert wait_for(first, Result)[-1].metrics["device"] == "cuda"  # the only one that its process sees
        progress_until(second, lambda event: event.phase == "naming")
        assert places[1].job.id == jobs[1]
        second.finish()
        wait_for(second, Result)


@linux
@pytest.mark.parametrize(("seed", "expected"), [(0, Result), (1, Failed)])
def test_a_job_that_takes_too_much_memory_is_tried_smaller_and_the_others_go_on(tmp_path, seed, expected):
    """Each process may take 320 MiB; this job takes 512, and half of that where it is to be smaller."""
    options = {"devices": ["cpu", "cpu"], "worker_memory": 320 << 20}
    plan = {"run_job": "support.worker_jobs:take_memory_or_count", "find_device": "builtins:dict"}
    with (
        served(tmp_path, options=options, **plan) as server,
        connected_client(server.address) as other,
        connected_client(server.address) as client,
    ):
        counting_job = start_counting(other)
        bystander = worker_of(server, counting_job)
        client.submit(FitSettings(resolution=512, seed=seed), {})
        ended = wait_for(client, Result, Failed, patience_s=START_S)[-1]
        assert isinstance(ended, expected), ended
        if isinstance(ended, Failed):
            assert ended.code == "memory"
            assert "GiB of memory, and it may take 0.31" in ended.cause
            assert "--worker-memory" in ended.cure
        else:
            assert ended.metrics["mib"] == 256
        other.finish()
        assert wait_for(other, Result)[-1].metrics["number"] > 3
        workers = server.status().workers
        assert bystander.pid in [worker.pid for worker in workers]
        assert sum(worker.losses for worker in workers) == (2 if seed else 1)
        assert {worker.memory_limit for worker in workers} == {320 << 20}
