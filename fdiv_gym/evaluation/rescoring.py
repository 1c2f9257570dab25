"""Rescoring of saved samples, without sampling: after a change of the verifier, or with another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fdiv_gym.envs.base import Environment, ScoringOptions
from fdiv_gym.envs.registration import make
from fdiv_gym.errors import ConfigError, TrainerError, UnknownNameError
from fdiv_gym.evaluation.folder import PLAN
from fdiv_gym.evaluation.samples import is_sample, task_of
from fdiv_gym.registry.discovery import discovery
from fdiv_gym.registry.guard import close_plugin
from fdiv_gym.registry.lookup import entry_named
from fdiv_gym.registry.options import build_options
from fdiv_gym.rewards.verifier import Verifier, get_verifier
from fdiv_gym.rollouts.judging import judge_transcripts
from fdiv_gym.rollouts.scoring import verify_checked
from fdiv_gym.rollouts.text_episodes import WITHHELD
from fdiv_gym.runs.config import parse_config
from fdiv_gym.runs.consent import require_consent, urls
from fdiv_gym.runs.folder import CONFIG, SAMPLES, RunFolder
from fdiv_gym.types.task import Task
from fdiv_gym.types.transcript import Transcript
from fdiv_gym.types.verdict import Verdict

BATCH = 256

REASONS = 3
"""Reasons of missing scores in a summary."""
PLACE_AND_TEXTS = ("step", "split", "mode", "index", "sample", "prompt", "answer", "response", "turns", "transcript")
"""Keys of a sample record that a disagreement includes: its place and its texts."""


GROUP = ("step", "split", "mode", "index", "task_hash")
"""Keys of a sample record that the responses of one group share."""
ROUNDING = 1e-6
"""A judge's model rounds by what shares its batch, and that is not the same again."""


@dataclass(frozen=True)
class _Saved:
    """A sample that can be judged again."""

    line: Mapping[str, Any]
    task: Task
    transcript: Transcript


Judging = Callable[[Sequence[_Saved]], list[Verdict]]


@dataclass(frozen=True)
class Rescored:
    """Old and new verdicts of saved samples.

    Args:
        records: the rescored samples, as saved.
        verdicts: their new verdicts.
        refused: the reasons why other samples were not rescored, with their numbers.
    """

    records: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Verdict]
    refused: Mapping[str, int]

    def disagreements(self) -> list[dict[str, Any]]:
        """Samples whose status changed, or whose score by more than ``ROUNDING``."""
        found = []
        for record, verdict in zip(self.records, self.verdicts, strict=True):
            old = record["verdict"]
            if old["status"] != str(verdict.status) or not _close(old["score"], verdict.score):
                place = {key: record[key] for key in PLACE_AND_TEXTS}
                found.append({**place, "old": old, "new": verdict.to_dict()})
        return found

    def summary(self) -> dict[str, Any]:
        """Counts, mean scores, and the commonest reasons of new verdicts without a score, JSON-ready."""
        old = [r["verdict"]["score"] for r in self.records if r["verdict"]["score"] is not None]
        new = [v.score for v in self.verdicts if v.score is not None]
        return {
            "samples": len(self.records),
            "disagreements": len(self.disagreements()),
            "mean_before": sum(old) / len(old) if old else None,
            "mean_after": sum(new) / len(new) if new else None,
            "statuses_before": dict(Counter(r["verdict"]["status"] for r in self.records)),
            "statuses_after": dict(Counter(str(v.status) for v in self.verdicts)),
            "reasons_after": dict(Counter(v.detail for v in self.verdicts if v.score is None).most_common(REASONS)),
            "refused": dict(self.refused),
        }


def _close(old: float | None, new: float | None) -> bool:
    return old == new if old is None or new is None else abs(old - new) <= ROUNDING


def rescore(
    path: Path,
    other: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    trust_endpoints: bool = False,
) -> Rescored:
    """Rescore the samples of a run or of an evaluation.

    A conversation is judged on its transcript as it was held, with the options of the environment on returns, on
    truncation and on length; nothing is said anew. A verifier judges its last response.

    Args:
        path: a run folder or an evaluation folder.
        other: a verifier, or an environment, instead of the folder's environment.
        options: options of ``other``, or overrides for the folder's environment.
        trust_endpoints: whether prompts and responses may be sent to the servers that the folder names.

    Raises:
        ConfigError: the folder holds no samples, ``other`` is neither verifier nor environment, or the folder names a
            server without the user's consent.
        TrainerError: no sample can be rescored; the message gives the reasons.
    """
    store = RunFolder(path)
    lines = store.lines(SAMPLES)
    if not lines:
        raise ConfigError(f"{path} has no samples (no {SAMPLES}): nothing to rescore")
    judge, close, needs_answer = _judging(store, other, dict(options or {}), trust_endpoints)
    kept, refused = _sorted_out(lines, needs_answer)
    if not kept:
        close()
        raise TrainerError(f"no sample of {path} can be rescored: " + "; ".join(f"{n} {r}" for r, n in refused.items()))
    try:
        verdicts = _rescored(judge, kept)
    finally:
        close()
    return Rescored([saved.line for saved in kept], verdicts, refused)


def rescore_samples(env: Environment, samples: Sequence[Mapping[str, Any]]) -> Rescored:
    """Rescore sample records with an environment that is already there; nothing is read and nobody asked for consent.

    Args:
        env: the environment that scored them, or another one.
        samples: sample records; see ``fdiv_gym.evaluation.samples``.

    Raises:
        EnvError: the environment broke its contract.
    """
    kept, refused = _sorted_out(samples, needs_answer=False)
    return Rescored([saved.line for saved in kept], _rescored(partial(_judged, env), kept), refused)


def _sorted_out(lines: Sequence[Mapping[str, Any]], needs_answer: bool) -> tuple[list[_Saved], dict[str, int]]:
    """The samples that can be judged again, and the reasons why others cannot, with their numbers."""
    refused: Counter[str] = Counter()
    kept: list[_Saved] = []
    for line in lines:
        found = _saved(line, needs_answer)
        if isinstance(found, str):
            refused[found] += 1
        else:
            kept.append(found)
    return kept, dict(refused)


def _rescored(judge: Judging, kept: Sequence[_Saved]) -> list[Verdict]:
    """The verdict of each sample, in batches of about ``BATCH`` that divide no group.

    A group is what was drawn to one task in one step. A judge that compares gets the samples of it that are kept.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, saved in enumerate(kept):
        groups.setdefault(tuple(saved.line[key] for key in GROUP), []).append(place)
    batches: list[list[tuple[int, int]]] = [[]]
    for number, places in enumerate(groups.values()):
        if len(batches[-1]) >= BATCH:
            batches.append([])
        batches[-1] += [(place, number) for place in places]
    found: dict[int, Verdict] = {}
    for batch in batches:
        some = [replace(kept[place], task=replace(kept[place].task, group=number)) for place, number in batch]
        found |= dict(zip([place for place, _ in batch], judge(some), strict=True))
    return [found[place] for place in range(len(kept))]


def _saved(line: Mapping[str, Any], needs_answer: bool) -> _Saved | str:
    """The sample of a line, or why it cannot be judged again."""
    if not is_sample(line):
        return "whose line is damaged"
    if str(line["verdict"].get("detail", "")).startswith(WITHHELD):
        return "that the engine withheld"
    task, transcript = task_of(line), Transcript.from_dict(line["transcript"])
    if task is None:
        return "whose task is incomplete: its content does not match its hash"
    if transcript.end == "failed":
        return "whose episode failed before its end"
    if not transcript.responses:
        return "without a response"
    if needs_answer and task.answer is None:
        return "without a reference answer, which a verifier needs"
    return _Saved(line, task, transcript)


def _judging(
    store: RunFolder, other: str | None, options: dict[str, Any], trust_endpoints: bool
) -> tuple[Judging, Callable[[], None], bool]:
    if other is not None and other in discovery.registry.names("verifier"):
        own = {key: options.pop(key) for key in ScoringOptions.model_fields if key in options}
        scoring = build_options(ScoringOptions, own, f"verifier {other!r}")
        verifier = get_verifier(other, **options)
        return partial(_verified, verifier, scoring), partial(close_plugin, verifier), True
    if other is not None:
        try:
            env = make(other, **options)
        except UnknownNameError as error:
            raise ConfigError(f"--with {other!r} is neither a verifier nor an environment: {error}") from None
    else:
        table = (store.read_json(PLAN) or store.read_json(CONFIG)).get("env")
        if not table:
            raise ConfigError(f"{store.path} does not name the environment of its samples: give --with")
        own = dict(table)
        name = own.pop("id")
        _refuse_python_class(name)
        given = {**own, **options}
        config = parse_config({"env": {"id": name, **given}})
        require_consent(
            config, store.path, trust_endpoints=trust_endpoints, trust_remote_code=False, given=list(urls(options))
        )
        env = make(name, **given)
    return partial(_judged, env), partial(close_plugin, env), False


def _verified(verifier: Verifier, scoring: ScoringOptions, saved: Sequence[_Saved]) -> list[Verdict]:
    return verify_checked(verifier, scoring, [one.task for one in saved], [one.line["response"] for one in saved])


def _judged(env: Environment, saved: Sequence[_Saved]) -> list[Verdict]:
    return judge_transcripts(
        env,
        [one.task for one in saved],
        [one.transcript for one in saved],
        [one.line["tokens"] for one in saved],
        masks=[one.line["split"] == "train" and one.line["step"] is not None for one in saved],  # drawn to train on
    )


def _refuse_python_class(name: str) -> None:
    try:
        entry_named("environment", name)
    except ConfigError as error:
        raise ConfigError(f"{error}; to rescore its samples, name a verifier or an environment by --with") from None
