"""The connection of a run's processes is closed before the interpreter ends.

Threads of gloo that still run while the interpreter is taken down abort it now and then ("terminate called without an
active exception", exit status -6) after a run that went well.
"""

from __future__ import annotations

import atexit

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
        torch.distributed.destroy_process_group()
