"""The judge ``gpm``: responses compared by a general preference model (arXiv 2410.02197)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import pydantic
import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.models import resolve_device
from fdiv_gym.types import groups_of
from fdiv_gym_gprl.embedder import Embedded, Embedder
from fdiv_gym_gprl.model import Eigenvalues, GeneralPreferenceModel, GPMConfig
from fdiv_gym_gprl.names import ANCHORED, EIGENVALUE, SCORE
from fdiv_gym_gprl.scores import group_scores, pair_scores, preference

ALONE = "a group of one has no other response to compare with"
NO_ANCHORS = "no anchors: the task has no data['anchors'], and the judge no option anchors"
NO_TEXTS = "data['anchors'] of the task is no list of texts"


class GPM(fg.Judge):
    """The probability that a response is preferred, by a frozen preference model of several dimensions.

    The score is the mean of P(response > other) = sigmoid(s/tau) over the task's anchor responses
    (``against = "anchors"``), or over the other responses of its group (``"group"``), the same in a whole run. In a
    group these means are about 1/2 on average whatever the policy does; against fixed anchors they measure progress,
    and a greedy evaluation of one response has a score. Without anchors a response that is alone in its group is
    unscorable. Anchors are the texts in ``task.data["anchors"]``, or those of the option ``anchors``.

    Components, for each dimension l: ``gprl/<l>``, the mean of s_l against the other scored responses of the group
    (none in a group of one), ``lambda/<l>``, the prompt's eigenvalue (the mean over the group), and ``anchored/<l>``,
    the mean of s_l against the anchors where there are any. Embeddings are kept in memory, by task and response;
    verdicts are not, because they depend on the group. With ``batch_size = 1`` an embedding does not depend on what
    else is judged, to the last bit.
    """

    class Options(fg.Options):
        """The model, and what responses are compared with."""

        model: str
        """A local folder of a preference model, or of a checkpoint of general-preference-model."""
        against: Literal["anchors", "group"] = "group"
        """What the score compares with: fixed anchor responses, or the other responses of the group."""
        anchors: tuple[str, ...] = ()
        """Anchor responses of tasks without ``data["anchors"]``."""
        max_tokens: int = pydantic.Field(2048, ge=8)
        """Longer inputs are cut, see ``row_of``; the limit of the model applies too."""
        batch_size: int = pydantic.Field(16, ge=1)
        """Responses in one forward pass."""
        cached_embeddings: int = pydantic.Field(65536, ge=0)
        """Embeddings kept in memory."""
        eigenvalues: Eigenvalues | None = None
        """Of a checkpoint without gpm.json: ``softmax`` by default, as its inference release."""
        normalise: bool | None = None
        """Of a checkpoint without gpm.json: true by default, as its inference release."""
        tau: float | None = pydantic.Field(None, gt=0)
        """Temperature of a checkpoint without gpm.json: 0.1 by default."""
        device: str = "auto"
        """``auto`` (the trainer's device, or a GPU if there is one), ``cpu``, ``cuda:0``, ..."""

        @pydantic.model_validator(mode="after")
        def _anchors_are_read(self) -> Self:
            if any(not text.strip() for text in self.anchors):
                raise ValueError("an anchor must not be empty")
            return self

    options: Options
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "component/gprl/<k>": "Mean score of dimension <k> of the preference against the other responses of the group;"
        " 0 by construction but for responses without a score.",
        "component/lambda/<k>": "Mean eigenvalue of dimension <k> of the preference, 0 or more.",
        "component/anchored/<k>": "Mean score of dimension <k> of the preference against the task's anchors, above 0"
        " where responses are preferred to them.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        o = self.options
        try:
            self.embedder = Embedder(
                o.model, resolve_device(o.device), longest=o.max_tokens, rows=o.batch_size, kept=o.cached_embeddings,
                eigenvalues=o.eigenvalues, normalise=o.normalise, tau=o.tau,
            )  # fmt: skip
        except fg.FdivGymError as error:
            raise fg.JudgeError(f"judge 'gpm' cannot load {o.model!r}: {error}") from None

    def identity(self) -> dict[str, Any]:
        """Name, the options that change a verdict, and size and time of the model's files."""
        options = self.options.model_dump(mode="json", exclude={"batch_size", "device", "cached_embeddings"})
        files = sorted(Path(self.options.model).glob("*"))
        state = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]
        return {"judge": type(self).registered_name(), "options": options, "files": state}

    async def judge(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> list[fg.Verdict]:
        """Compare in a separate thread, because a forward pass would block the event loop."""
        return await asyncio.to_thread(self._judge, list(tasks), list(responses))

    async def compare(
        self, tasks: Sequence[fg.Task], firsts: Sequence[str], seconds: Sequence[str]
    ) -> list[fg.Verdict]:
        """1 where the model prefers the first answer, 0 where the second, 0.5 for s = 0.

        The component ``probability`` is that of the first answer.
        """
        return await asyncio.to_thread(self._compare, list(tasks), list(firsts), list(seconds))

    def _judge(self, tasks: list[fg.Task], responses: list[str]) -> list[fg.Verdict]:
        verdicts: dict[int, fg.Verdict] = {}
        anchors = [_anchors(task, self.options.anchors) for task in tasks]
        # One call embeds everything that is new: the responses, then the anchors of each task.
        groups = groups_of(tasks)
        of_groups = [(tasks[g[0]], text) for g in groups for text in anchors[g[0]] or ()]
        found = self.embedder([*tasks, *(t for t, _ in of_groups)], [*responses, *(text for _, text in of_groups)])
        fixed = iter(found[len(tasks) :])
        for members in groups:
            texts = anchors[members[0]]
            if texts is None:
                verdicts |= {i: fg.Verdict.unscorable(NO_TEXTS) for i in members}
                continue
            verdicts |= self._group(members, [found[i] for i in members], [next(fixed) for _ in texts])
        return [verdicts[i] for i in range(len(tasks))]

    def _group(
        self, members: list[int], own: list[Embedded | str], anchors: list[Embedded | str]
    ) -> dict[int, fg.Verdict]:
        """The verdicts of one group by the place of its members."""
        verdicts = {i: fg.Verdict.unscorable(e) for i, e in zip(members, own, strict=True) if isinstance(e, str)}
        present = [(i, e) for i, e in zip(members, own, strict=True) if not isinstance(e, str)]
        failed = next((e for e in anchors if isinstance(e, str)), None)
        own_rows = _stacked([e for _, e in present])
        if own_rows is None:
            return verdicts
        if failed is not None:
            return verdicts | {i: fg.Verdict.unscorable(f"an anchor has no embedding: {failed}") for i, _ in present}
        fixed = _stacked([e for e in anchors if not isinstance(e, str)])
        parts, scores = _components(own_rows, fixed), self._scores(own_rows, fixed)
        for row, (i, _) in enumerate(present):
            if isinstance(scores, str):
                verdicts[i] = fg.Verdict.unscorable(scores)
            else:
                components = {name: float(values[row]) for name, values in parts.items()}
                verdicts[i] = fg.Verdict(float(scores[row]), fg.Status.SCORED, components)
        return verdicts

    def _scores(self, own: Embedded, anchors: Embedded | None) -> Tensor | str:
        """[G] mean win probabilities, or why there are none."""
        if self.options.against == "anchors":
            return NO_ANCHORS if anchors is None else self._probabilities(own, anchors).mean(1)
        others = len(own[0]) - 1
        if others < 1:
            return ALONE
        probabilities = self._probabilities(own, own)
        return (probabilities.sum(1) - probabilities.diagonal()) / others

    def _compare(self, tasks: list[fg.Task], firsts: list[str], seconds: list[str]) -> list[fg.Verdict]:
        found = self.embedder([*tasks, *tasks], [*firsts, *seconds])
        return [self._compared(*pair) for pair in zip(found[: len(tasks)], found[len(tasks) :], strict=True)]

    def _compared(self, first: Embedded | str, second: Embedded | str) -> fg.Verdict:
        if isinstance(first, str) or isinstance(second, str):
            return fg.Verdict.unscorable(first if isinstance(first, str) else str(second))
        score = float(preference((first[1] + second[1]) / 2, pair_scores(first[0], second[0])))
        probability = float(torch.sigmoid(torch.tensor(score, dtype=torch.float64) / self._tau))
        return fg.Verdict.scored(0.5 + 0.5 * ((score > 0) - (score < 0)), probability=probability)

    def _probabilities(self, own: Embedded, others: Embedded) -> Tensor:
        """[G, A] P(response > other).

        A pair has the mean of the eigenvalues behind its two responses, as in training, so that s is skew-symmetric
        where they differ: a long prompt is cut by the length of the response too, see ``row_of``.
        """
        scores = pair_scores(own[0].unsqueeze(1), others[0].unsqueeze(0))
        eigenvalues = (own[1].unsqueeze(1) + others[1].unsqueeze(0)) / 2
        return torch.sigmoid(preference(eigenvalues, scores) / self._tau)

    @staticmethod
    def scores(a: Tensor, b: Tensor) -> Tensor:
        """s_l(a > b) [..., k] of embeddings [..., 2k]; see ``fdiv_gym_gprl.pair_scores``."""
        return pair_scores(a, b)

    @staticmethod
    def new_model(backbone: torch.nn.Module, *, seed: int = 0, **form: Any) -> GeneralPreferenceModel:
        """An untrained preference model on a backbone; ``form`` are fields of ``fdiv_gym_gprl.GPMConfig``."""
        return GeneralPreferenceModel(GPMConfig(base="", **form), backbone, seed=seed)

    @property
    def _tau(self) -> float:
        return self.embedder.model.config.tau


def _anchors(task: fg.Task, default: Sequence[str]) -> list[str] | None:
    """The anchor responses of a task; None if its ``data["anchors"]`` is no list of texts."""
    given = task.data.get("anchors", default)
    if not isinstance(given, list | tuple) or not all(isinstance(text, str) for text in given):
        return None
    return list(given)


def _stacked(rows: Sequence[Embedded]) -> Embedded | None:
    """The embeddings [N, 2k] and the eigenvalues [N, k] of several texts; None without any."""
    return (torch.stack([e for e, _ in rows]), torch.stack([values for _, values in rows])) if rows else None


def _components(own: Embedded, anchors: Embedded | None) -> dict[str, Tensor]:
    """The components of a group, each [G]; the eigenvalues are the means over the group."""
    embeddings, eigenvalues = own
    # Relative to the first row, so that the mean of equal eigenvalues is exactly these.
    mean = eigenvalues[:1] + (eigenvalues - eigenvalues[:1]).mean(0)
    parts = {f"{EIGENVALUE}{d}": column for d, column in enumerate(mean.expand_as(eigenvalues).unbind(1))}
    if len(embeddings) > 1:
        parts |= {f"{SCORE}{d}": column for d, column in enumerate(group_scores(embeddings).unbind(1))}
    if anchors is not None:
        against = pair_scores(embeddings.unsqueeze(1), anchors[0].unsqueeze(0)).mean(1)
        parts |= {f"{ANCHORED}{d}": column for d, column in enumerate(against.unbind(1))}
    return parts
