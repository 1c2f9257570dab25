"""What the metadata of an installed distribution say: its name, its extras, the version of fdiv-gym that it needs."""

from __future__ import annotations

import importlib.metadata
import re

from fdiv_gym.errors import PluginError

UNKNOWN = "unknown"


def distribution_name(dist: importlib.metadata.Distribution) -> str:
    """The normalised name, ``unknown`` without one."""
    return normalised(metadata_of(dist, "Name") or UNKNOWN)


def normalised(name: str) -> str:
    """A distribution's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata_of(dist: importlib.metadata.Distribution, field: str) -> str | None:
    """A field of the distribution's METADATA; None if the file lacks it, is absent or cannot be read."""
    try:
        return dist.metadata[field]
    except Exception:  # what is raised differs among the versions of Python
        return None


def distribution_of_core() -> importlib.metadata.Distribution | None:
    """fdiv-gym; None if it is not installed."""
    try:
        return importlib.metadata.distribution("fdiv-gym")
    except importlib.metadata.PackageNotFoundError:
        return None


def extra_that_brings(module: str, dist: importlib.metadata.Distribution) -> str:
    """The extra of ``dist`` that installs the package of a module; empty if there is none."""
    wanted = normalised(module.partition(".")[0])
    for requirement in dist.requires or []:
        package, _, marker = requirement.partition(";")
        named = re.match(r"[A-Za-z0-9._-]+", package.strip())
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if named and extra and normalised(named.group()) == wanted:
            return extra.group(1)
    return ""


def check_core_version(dist: importlib.metadata.Distribution | None) -> None:
    """Refuse a distribution that needs another version of fdiv-gym.

    Raises:
        PluginError: naming both versions.
    """
    if dist is None or normalised(dist.name) == "fdiv-gym":
        return
    wanted = [r for r in dist.requires or [] if re.match(r"fdiv[-_.]gym\b(?![-_.]\w)", r, re.IGNORECASE)]
    if not wanted:
        return
    from packaging.requirements import Requirement

    from fdiv_gym.version import __version__

    for text in wanted:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if applies and not requirement.specifier.contains(__version__, prereleases=True):
            raise PluginError(
                f"it needs {requirement.name}{requirement.specifier}, but fdiv-gym {__version__} is installed"
            )
