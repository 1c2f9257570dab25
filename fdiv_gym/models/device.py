"""The device of models that judge."""

from __future__ import annotations


def resolve_device(wanted: str) -> str:
    """The device of an option ``device``.

    Args:
        wanted: ``auto``, or a device of torch, which is returned as it is.

    Returns:
        For ``auto`` the device of this process in accelerate where a trainer has started it, so that each process of a
        run uses its own GPU; else ``cuda`` if there is a GPU, else ``cpu``.
    """
    if wanted != "auto":
        return wanted
    import torch

    try:
        from accelerate import PartialState

        if PartialState._shared_state:  # asking for the state of an unstarted accelerate would start it
            return str(PartialState().device)
    except ImportError:
        pass
    return "cuda" if torch.cuda.is_available() else "cpu"
