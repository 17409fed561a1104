"""ZeroMQ, imported in one place: an add-on without pyzmq loads and bakes, and says what is lacking where it would connect."""

from __future__ import annotations

try:
    import zmq
    from zmq.utils.monitor import recv_monitor_message

    HAS_ZEROMQ = True
except ImportError:  # extensions.blender.org accepts no compiled packages
    zmq = None  # type: ignore[assignment]
    recv_monitor_message = None  # type: ignore[assignment]

    HAS_ZEROMQ = False

__all__ = ["HAS_ZEROMQ", "recv_monitor_message", "zmq"]
