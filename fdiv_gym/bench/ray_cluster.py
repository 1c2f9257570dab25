"""A Ray cluster: what a cell takes of it, how it is reached, and how many cells it runs at a time."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fdiv_gym.errors import ConfigError, MissingExtraError
from fdiv_gym.registry.messages import shorten

CONNECT_S = 10.0


@dataclass(frozen=True)
class Resources:
    """What a cell takes of a Ray cluster.

    Args:
        cpus: cores.
        gpus: GPUs, or a part of one.
        memory_gb: gigabytes of memory; a cell whose processes hold more is ended, as a failure.

    Raises:
        ConfigError: one of them is wrong.
    """

    cpus: float = 1.0
    gpus: float = 0.0
    memory_gb: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpus) and self.cpus > 0):
            raise ConfigError(f"cpus = {self.cpus}: it must be above 0")
        if not (math.isfinite(self.gpus) and self.gpus >= 0) or (self.gpus > 1 and self.gpus % 1):
            raise ConfigError(f"gpus = {self.gpus}: it must be a part of one GPU, or a whole number of them")
        if self.memory_gb is not None and not (math.isfinite(self.memory_gb) and self.memory_gb > 0):
            raise ConfigError(f"memory_gb = {self.memory_gb}: it must be above 0")

    @property
    def amounts(self) -> dict[str, float]:
        """By Ray's names of them; memory in bytes."""
        memory = None if self.memory_gb is None else float(int(self.memory_gb * 1e9))
        return {name: each for name, each in (("CPU", self.cpus), ("GPU", self.gpus), ("memory", memory)) if each}

    def at_a_time(self, nodes: Sequence[dict[str, Any]]) -> int:
        """Cells that these nodes (``ray.nodes()``) can run at the same time."""
        alive = [node["Resources"] for node in nodes if node["Alive"]]
        # 1e-9: 1 / 0.1 is ten.
        return sum(min(int(node.get(name, 0) / each + 1e-9) for name, each in self.amounts.items()) for node in alive)


def import_ray() -> Any:
    """The module ``ray``.

    Raises:
        MissingExtraError: it is not installed.
    """
    # Read when it is imported: nothing is sent to Ray's makers, unless the user says so.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtraError("executor = \"ray\" needs Ray: pip install 'fdiv-gym[ray]'") from None
    return ray


def refuse_unreachable(address: str) -> None:
    """Raise if nothing listens at ``host:port``: Ray itself tries for many minutes, and then ends the process.

    Raises:
        ConfigError: nothing listens, or it is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"run.address = {shorten(address)}: it must be host:port, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(f"there is no Ray cluster at {shorten(address)}: {error}") from None


@contextlib.contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to the cluster, or start one of this machine; a Ray that is connected already is left as it is.

    Raises:
        ConfigError: the cluster cannot be reached.
    """
    if ray.is_initialized():
        yield
        return
    if address not in (None, "auto"):
        refuse_unreachable(address)
    own = {} if address else {"include_dashboard": False}
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="error", **own)
    except Exception as error:  # of many classes: ConnectionError, RuntimeError, ValueError, ...
        what = f"connect to the Ray cluster at {address}" if address else "start Ray on this machine"
        raise ConfigError(f"cannot {what}: {error}") from None
    try:
        if main and handler is not None:  # Ray has set its own
            signal.signal(signal.SIGTERM, handler)
        yield
    finally:
        ray.shutdown()


def refuse_too_large(ray: Any, resources: Resources) -> int:
    """The number of cells that the cluster can run at a time.

    Raises:
        ConfigError: it is 0, so that Ray would let them wait for ever.
    """
    nodes = ray.nodes()
    slots = resources.at_a_time(nodes)
    if slots:
        return slots
    needed = ", ".join(f"{name} = {amount:g}" for name, amount in resources.amounts.items())
    there = [
        ", ".join(f"{name} = {node['Resources'].get(name, 0):g}" for name in resources.amounts)
        for node in nodes
        if node["Alive"]
    ]
    raise ConfigError(
        f"no node of the Ray cluster can ever run a cell, which takes {needed}: its {len(there)} nodes have "
        f"{'; '.join(sorted(set(there))[:3]) or 'nothing'}. Ask for less with run.cpus, run.gpus or run.memory_gb, or "
        "add a larger node"
    )
