"""Environments of a bundle that may be built here: without a server, a model, or a file that the bundle names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fdiv_gym.bench.matrix import Matrix
from fdiv_gym.bench.redaction import HOST, PATH, SECRET, Redaction
from fdiv_gym.bench.verified import Findings
from fdiv_gym.envs.base import Environment
from fdiv_gym.errors import FdivGymError
from fdiv_gym.registry.guard import close_plugin, score_range_of
from fdiv_gym.registry.messages import cause_of
from fdiv_gym.registry.options import Options
from fdiv_gym.registry.reference import PluginRef, references
from fdiv_gym.runs.config import RunConfig
from fdiv_gym.runs.consent import urls

LOCAL_JUDGES = ("rule", "ensemble", "pairwise")
"""Judges that need no model and no server of their own; those inside them are asked too."""


class Rebuilt:
    """The environments of a matrix, built when they are asked for.

    Args:
        matrix: the matrix.
        configs: a configuration of a cell of each environment, by label.
        known: the ranges of scores that the bundle gives, for environments that are not built.
        findings: takes a note for each environment that is not built.
    """

    def __init__(
        self,
        matrix: Matrix,
        configs: Mapping[str, RunConfig],
        known: Mapping[str, Sequence[float]],
        findings: Findings,
    ) -> None:
        self._labels = [entry.label for entry in matrix.environments]
        self._configs, self._known, self._findings = configs, known, findings
        self._built: dict[str, Environment | None] = {}
        self._lists: dict[str, list[str] | None] = {}

    def environment(self, label: str) -> Environment | None:
        """The environment; None if it may not be built here, of which there is a note."""
        if label not in self._built:
            self._built[label] = self._build(label)
        return self._built[label]

    def _build(self, label: str) -> Environment | None:
        reference = self._configs[label].env
        assert reference is not None
        why = why_not(self._configs[label])
        if not why:
            try:
                return reference.build()
            except FdivGymError as error:
                why = cause_of(error)
        self._findings.note(f"rewards of the environment {label} were NOT re-checked: {why}")
        return None

    def tasks(self, label: str, first: int, most: int | None) -> list[str] | None:
        """The hashes of the held-out tasks that are evaluated; None if they cannot be made here."""
        if label not in self._lists:
            self._lists[label] = self._hashes(label)
        found = self._lists[label]
        return None if found is None else found[first : None if most is None else first + most]

    def _hashes(self, label: str) -> list[str] | None:
        env = self.environment(label)
        if env is None:
            return None
        try:
            return [task.hash for task in env.task_list("heldout")]
        except FdivGymError as error:
            self._findings.note(f"the tasks of {label} were not compared with those of its data: {cause_of(error)}")
            return None

    def ranges(self) -> dict[str, tuple[float, float]]:
        """The lowest and highest score of each environment; of one that is not built, those of the bundle."""
        return dict(self._ranges())

    def _ranges(self) -> Iterator[tuple[str, tuple[float, float]]]:
        for label in self._labels:
            reference = self._configs[label].env
            assert reference is not None
            declared = getattr(reference.plugin_class, "score_range", None)
            env = None if isinstance(declared, tuple) else self.environment(label)
            if isinstance(declared, tuple):
                yield label, (float(declared[0]), float(declared[1]))
            elif env is not None:
                low, high = score_range_of(env)
                yield label, (float(low), float(high))
            else:
                low, high = self._known[label]
                self._findings.note(f"the range of scores of {label} was taken from the bundle")
                yield label, (float(low), float(high))

    def close(self) -> None:
        """Close what was built."""
        for env in self._built.values():
            if env is not None:
                close_plugin(env)


def why_not(config: RunConfig) -> str:
    """Why an environment of a bundle is not built here; empty if it may be."""
    reference = config.env
    assert reference is not None
    judges = [found.name for found in _references(reference) if found.kind == "judge"]
    strange = [name for name in judges if name not in LOCAL_JUDGES]
    if strange:
        return f"its judge {strange[0]!r} needs a model or a server"
    options = [found.checked_options for found in _references(reference)]
    contacted = [server for own in options if isinstance(own, Options) for server in own.servers_contacted()]
    if contacted or any(urls(reference.table("id"))):
        return "its options name a server"
    table = reference.table("id")
    if Redaction(here=False).value(table) != table or any(mark in str(table) for mark in (PATH, HOST, SECRET)):
        return "its options name a file or a secret of another machine"
    return ""


def _references(reference: PluginRef[Any]) -> Iterator[PluginRef[Any]]:
    yield reference
    yield from references(reference.checked_options)
