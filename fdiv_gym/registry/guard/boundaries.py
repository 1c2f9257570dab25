"""The boundary: exceptions of plugin code become errors of fdiv-gym that name the plugin."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Protocol

from fdiv_gym.errors import FdivGymError, PluginError
from fdiv_gym.registry.kinds import KINDS
from fdiv_gym.registry.messages import INTERRUPTS, cause_of

if TYPE_CHECKING:
    from fdiv_gym.registry.entry import Entry


log = logging.getLogger(__name__)


class Plugin(Protocol):
    """The attributes of a plugin instance that a guard reads."""

    kind: ClassVar[str]
    entry: Entry | None

    @classmethod
    def registered_name(cls) -> str:
        """The name of the class."""


def label_of(plugin: Plugin) -> str:
    """An instance in messages: its kind, its name, and the plugin that registered it, if any."""
    # One class may be registered under several names; the entry holds the name used for this instance.
    return f"{plugin.kind} {plugin.registered_name()!r}" if plugin.entry is None else plugin.entry.label


@contextlib.contextmanager
def attribute_errors(plugin: Plugin) -> Iterator[None]:
    """Prefix the plugin's name to an fdiv-gym error from its code that names no plugin.

    An error that names another plugin, such as the divergence of an objective, stays unchanged. Any other
    exception is passed on with a note of the plugin's name, which ``cause_of`` shows.
    """
    try:
        yield
    except FdivGymError as error:
        if label_of(plugin) in str(error) or str(error).startswith(tuple(f"{kind} '" for kind in KINDS)):
            raise
        raise _with_message(error, f"{label_of(plugin)}: {error}") from error
    except Exception as error:
        if not getattr(error, "__notes__", None):
            error.add_note(f"in {label_of(plugin)}")
        raise


@contextlib.contextmanager
def boundary(plugin: Plugin, call: str) -> Iterator[None]:
    """Guard a call into a plugin: every exception except Ctrl-C becomes a PluginError.

    Args:
        plugin: the plugin whose code runs.
        call: the name of the call for the message, e.g. ``"vote"``.

    Raises:
        PluginError: the plugin's code failed; an error of fdiv-gym keeps its class and gets the plugin's
            name.
    """
    with attribute_errors(plugin):
        try:
            yield
        except (FdivGymError, *INTERRUPTS):
            raise
        except BaseException as error:  # SystemExit, or a class that derives from BaseException
            raise PluginError(f"{label_of(plugin)} failed in {call}: {cause_of(error)}") from error


def close_plugin(plugin: Plugin) -> None:
    """Call ``plugin.close()``; a failure is logged as a warning, so that it neither hides an error nor fails a run."""
    deputy = getattr(plugin, "deputy", None)
    if deputy is not None:
        deputy.close()
    try:
        with boundary(plugin, "close"):
            plugin.close()  # type: ignore[attr-defined]
    except FdivGymError as error:
        log.warning("%s", error)


def culprit_of(error: BaseException) -> str | None:
    """The label of the plugin whose code raised: the innermost frame with a plugin as ``self``.

    Used for a call outside every boundary, such as a property that fails.
    """
    from fdiv_gym.registry.options import Configurable  # pydantic is not imported with fdiv_gym

    culprit, frame = None, error.__traceback__
    while frame is not None:
        owner = frame.tb_frame.f_locals.get("self")
        if isinstance(owner, Configurable):
            culprit = label_of(owner)
        frame = frame.tb_next
    return culprit


def _with_message(error: FdivGymError, message: str) -> FdivGymError:
    """An error of the same class with another message; a PluginError where the class takes other arguments."""
    try:
        return type(error)(message)
    except Exception:  # a subclass of a plugin's own
        return PluginError(message)
