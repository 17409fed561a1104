"""`serve --devices` and `--worker-memory`: what is understood, and what the worker process of each device gets."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backend.cli.main import argument_parser
from backend.job.checkpoints import MOST_JOBS
from backend.server import devices
from backend.server.address_file import ServerError
from backend.server.devices import WORKERS_SHARE, device_plans, read_devices
from backend.worker.plan import WorkerPlan
from backend.worker.process_memory import _group_limits, machine_memory, process_memory

PLAN = WorkerPlan()


def test_the_checkpoints_of_as_many_jobs_are_kept_as_there_may_be_devices():
    assert devices.MOST_DEVICES == MOST_JOBS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpu",
        "cuda",
        "cuda:",
        "cuda:-1",
        "cuda:01",
        "cuda:1,",
        "all,cpu",
        "cpu,auto",
        "cuda:0,cuda:0",
        "cuda:0+cuda:0",
        "cuda:0+cpu",
        "cpu+",
        "all+cpu",
        "cpu" + 16 * ",cpu",
    ],
)
def test_what_is_no_list_of_devices_is_refused(text, capsys):
    with pytest.raises(ValueError, match=r"is no device|twice|more than 16|joins a GPU with the processor"):
        read_devices(text)
    with pytest.raises(SystemExit):
        argument_parser().parse_args(["serve", f"--devices={text}"])
    assert "--devices" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0.5", "-1", "0", "nan", "inf", "much"])
def test_too_little_memory_for_any_fit_is_refused(text, capsys):
    with pytest.raises(SystemExit):
        argument_parser().parse_args(["serve", f"--worker-memory={text}"])
    assert "1 or more" in capsys.readouterr().err


def test_the_command_understands_devices_and_memory():
    chosen = argument_parser().parse_args(["serve", "--devices", "cuda:0, cuda:3,cpu", "--worker-memory", "1.5"])
    assert chosen.devices == ("cuda:0", "cuda:3", "cpu")
    assert chosen.worker_memory == 3 << 29
    chosen = argument_parser().parse_args(["serve"])
    assert (chosen.devices, chosen.worker_memory) == (("auto",), None)


def test_without_a_choice_there_is_one_process_that_sees_the_machine():
    (plan,) = device_plans(("auto",), PLAN, None)
    assert (plan.device, plan.environment) == ("auto", {})
    assert plan.memory_bytes == int((machine_memory() or 0) * WORKERS_SHARE)


def test_devices_that_are_joined_have_one_plan_which_sees_them_all(monkeypatch):
    monkeypatch.setattr(devices, "_count_gpus", lambda _plan: 3)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    first, second = device_plans(read_devices("cuda:0 + cuda:2, cuda:1"), PLAN, None)
    assert (first.device, first.joined, first.environment) == ("cuda:0+cuda:2", 2, {"CUDA_VISIBLE_DEVICES": "0,2"})
    assert (second.device, second.joined) == ("cuda:1", 1)
    (every,) = device_plans(read_devices("together"), PLAN, None)
    assert (every.device, every.joined) == ("cuda:0+cuda:1+cuda:2", 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,GPU-six")
    assert device_plans(("cuda:0+cuda:2",), PLAN, None)[0].environment == {"CUDA_VISIBLE_DEVICES": "4,GPU-six"}
    monkeypatch.setattr(devices, "_count_gpus", lambda _plan: 1)
    assert device_plans(read_devices("together"), PLAN, None)[0].joined == 1
    with pytest.raises(ServerError, match="cuda:1 is not there"):
        device_plans(("cuda:0+cuda:1",), PLAN, None)


def test_devices_are_joined_on_linux_only(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ServerError, match="on Linux only"):
        device_plans(("cpu+cpu",), PLAN, None)


def test_processors_share_cores_and_memory(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    first, second = device_plans(("cpu", "cpu"), PLAN, None)
    assert (first.device, second.device) == ("cpu:0", "cpu:1")
    assert first.memory_bytes + second.memory_bytes <= (machine_memory() or 0) * WORKERS_SHARE
    assert first.environment["CUDA_VISIBLE_DEVICES"] == ""
    assert int(first.environment["OMP_NUM_THREADS"]) >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in device_plans(("cpu", "cpu"), PLAN, None)[0].environment
    (alone,) = device_plans(("cpu",), PLAN, 5 << 30)
    assert (alone.device, alone.memory_bytes) == ("cpu", 5 << 30)


def test_each_gpu_is_seen_by_one_process(monkeypatch):
    monkeypatch.setattr(devices, "_count_gpus", lambda _plan: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1234, 5")
    plans = device_plans(("all",), PLAN, None)
    assert [plan.device for plan in plans] == ["cuda:0", "cuda:1"]
    assert [plan.environment["CUDA_VISIBLE_DEVICES"] for plan in plans] == ["GPU-1234", "5"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (plan,) = device_plans(("cuda:1",), PLAN, None)
    assert plan.environment == {"CUDA_VISIBLE_DEVICES": "1"}
    with pytest.raises(ServerError, match="cuda:2 is not there: PyTorch finds 2"):
        device_plans(("cuda:0", "cuda:2"), PLAN, None)


def test_all_is_what_pytorch_finds_and_the_processor_where_that_is_nothing():
    import torch

    names = [plan.device for plan in device_plans(("all",), PLAN, None)]
    assert names == ([f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"])


def test_a_pytorch_that_is_not_there_is_an_error_with_cure():
    with pytest.raises(ServerError, match=r"No module named 'torch'.*--devices cpu"):
        device_plans(("all",), WorkerPlan(python_path=[]), None)


def test_the_servers_process_learns_of_gpus_without_loading_pytorch():
    code = "import sys\nfrom backend.server.devices import device_plans\nfrom backend.worker.plan import WorkerPlan\n"
    code += "device_plans(('all',), WorkerPlan(), None)\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": os.pathsep.join(sys.path)})


def test_the_limits_of_all_groups_count(tmp_path):
    membership, groups = tmp_path / "cgroup", tmp_path / "groups"
    inner = groups / "a.slice" / "b.service"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("5000\n")
    (groups / "memory" / "old").mkdir(parents=True)
    (groups / "memory" / "old" / "memory.limit_in_bytes").write_text("7000\n")
    membership.write_text("4:memory:/old\n1:name=systemd:/x\n0::/a.slice/b.service\n")
    assert sorted(_group_limits(membership, groups)) == [5000, 7000]
    assert list(_group_limits(tmp_path / "none", groups)) == []


def test_a_process_that_is_gone_takes_nothing_that_is_known():
    assert process_memory(0) is None
