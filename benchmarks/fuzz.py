"""`python -m benchmarks fuzz`: nearly right messages by the hundred thousand, to a real backend.

Two paired clients send them, of every type, with shapes, sizes and hashes that agree (`benchmarks/fuzz_messages.py`). The
backend must not end, answer `internal`, send one client what is the other's, grow, or keep an honest third client from its
results.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random
from typing import Any

import torch

from backend.cli.errors import CommandError
from benchmarks.fuzz_clients import FaultFound, Fuzzing, three_keys
from benchmarks.measure import check_output, circumstances, print_table, write_json
from benchmarks.small_backend import small_backend

_BURST = 50
_BURSTS_BETWEEN_WITNESSES = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=480.0, help="end after so long, whatever is left")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed sends the same messages, but for jobs' names"
    )
    parser.add_argument("--json", type=Path, help="write what was measured to this file")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Send, print, write; returns what was written. Raises CommandError for a fault of the backend."""
    check_output(options.json)
    keys, began = three_keys(), time.monotonic()
    memory: list[dict[str, float]] = []
    with small_backend(keys, keeps=True) as backend:
        fuzzing, burst = Fuzzing(backend, keys), 0
        try:
            while fuzzing.sent < options.messages and time.monotonic() - began < options.seconds:
                fuzzing.burst(Random(f"{options.seed} {burst}"), _BURST)
                burst += 1
                if burst % _BURSTS_BETWEEN_WITNESSES == 0:
                    fuzzing.settle()
                    held = {"server": backend.memory_mib(), "worker": backend.memory_mib(backend.worker)}
                    memory.append({"messages": fuzzing.sent, **held})
            if fuzzing.internal:
                raise FaultFound(f"the backend answered with faults of its own: {fuzzing.internal}")
        except FaultFound as fault:
            raise CommandError(
                f"After {fuzzing.sent} messages: {fault}", f"It comes again with --seed {options.seed}."
            ) from fault
        finally:
            fuzzing.close()
    result = _result(options, fuzzing, memory, time.monotonic() - began)
    print_table("Fuzzing", [["", ""], *([name, str(value)] for name, value in result["fuzzing"].items())])
    if options.json is not None:
        write_json(options.json, result)
    return result


def _result(
    options: argparse.Namespace, fuzzing: Fuzzing, memory: list[dict[str, float]], seconds: float
) -> dict[str, Any]:
    shown = memory[:: max(1, len(memory) // 40)] + memory[-1:]
    types = sum((client.heard.types for client in fuzzing.clients), type(fuzzing.clients[0].heard.types)())
    codes = sum((client.heard.codes for client in fuzzing.clients), type(types)())
    later = [place["server"] for place in memory if place["messages"] > fuzzing.sent / 4]
    return circumstances(torch.device("cpu")) | {
        "seed": options.seed,
        "fuzzing": {
            "messages": fuzzing.sent,
            "seconds": seconds,
            "messages_per_second": fuzzing.sent / seconds,
            "honest_jobs": len(memory),
            "server_mib_after_a_quarter": later[0] if later else None,
            "server_mib_at_the_end": later[-1] if later else None,
        },
        "answers": dict(types),
        "refusals": dict(codes),
        "memory": shown,
    }


__all__ = ["add_arguments", "run"]
