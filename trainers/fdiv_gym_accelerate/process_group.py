"""The connection of a run's processes is closed before the interpreter ends.

Threads of gloo that still run while the interpreter is taken down abort it now and then ("terminate called without an
active exception", exit status -6) after a run that went well.
"""

from __future__ import annotations

import atexit
import gc

import torch

# Its functions keep, as defaults of arguments, the default group of the moment of their import: imported later, as
# transformers may do, the group is never freed, and its threads never end.
import torch.distributed.nn


def close_at_exit() -> None:
    """Close gloo's group when the interpreter ends; several runs of one process share it until then.

    NCCL's group is left to the end of the process: closing it waits for other processes, which may be gone.
    """
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        atexit.unregister(_close)
        atexit.register(_close)


def _close() -> None:
    if torch.distributed.is_initialized():
        _forget_meshes()
        torch.distributed.destroy_process_group()


def _forget_meshes() -> None:
    """Let go of sharded models and of what torch remembers of their operations: both keep the group, and its threads.

    A sharded model is part of a cycle of references, and torch caches its layouts for the life of the process. The
    functions that empty the caches are torch's own, and not in every version.
    """
    from torch.distributed.tensor import debug

    for name in ("_clear_sharding_prop_cache", "_clear_fast_path_sharding_prop_cache"):
        getattr(debug, name, lambda: None)()
    gc.collect()
