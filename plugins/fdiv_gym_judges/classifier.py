"""The judge ``classifier``: a transformers sequence classifier as reward or safety model."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pydantic

import fdiv_gym as fg
from fdiv_gym.rewards import CachedJudge


class Classifier(CachedJudge):
    """The probability of one of the labels of a classifier.

    Softmax is applied to the outputs of a model with several labels, the logistic function to the single output of a
    reward model. So a score is between 0 and 1 and has the order of the rewards. The probability of every label is a
    component (``label/<name>``); the raw output of a reward model is the component ``logit``.
    """

    class Options(CachedJudge.Options):
        """The model and its inputs."""

        model: str
        """A local folder or a hub id of a sequence classification model."""
        revision: str | None = None
        """Hub revision."""
        label: str | None = None
        """The label (name or number) whose probability is the score; needed if the model has several."""
        invert: bool = False
        """Score 1 - probability; for a label that means harm."""
        template: str | None = None
        """Text with ``{prompt}`` and ``{response}`` to classify; by default the two as a pair of texts."""
        max_tokens: int = pydantic.Field(512, ge=8)
        """Longer inputs are cut at their end; the limit of the model applies too."""
        batch_size: int = pydantic.Field(64, ge=1)
        """Responses in one forward pass."""
        device: str = "auto"
        """``auto`` (the trainer's device, or a GPU if there is one), ``cpu``, ``cuda:0``, ..."""

        @pydantic.field_validator("template")
        @classmethod
        def _has_response(cls, template: str | None) -> str | None:
            if template is not None and "{response}" not in template:
                raise ValueError("must contain {response}")
            return template

    options: Options
    metric_meanings: ClassVar[Mapping[str, str]] = {
        "component/logit": "Mean output of a classifier with one output, without bounds.",
        "component/label/<name>": "Mean probability of the label <name>, from 0 to 1.",
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lock = threading.Lock()
        self._model, self._tokenizer = self._load()
        self._labels = {int(i): str(name) for i, name in self._model.config.id2label.items()}
        self._index = self._label_index()

    def identity(self) -> dict[str, Any]:
        """Name, the options that change a verdict, and size and time of the files of a local folder."""
        options = self.options.model_dump(mode="json", exclude={"cache", "batch_size", "device"})
        folder = Path(self.options.model)
        files = sorted(folder.glob("*")) if folder.is_dir() else []
        state = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()]
        return {"judge": type(self).registered_name(), "options": options, "files": state}

    async def judge_fresh(self, tasks: Sequence[fg.Task], responses: Sequence[str]) -> list[fg.Verdict]:
        """Classify in batches in a separate thread, because a forward pass would block the event loop."""
        return await asyncio.to_thread(self._judge_all, [t.text for t in tasks], list(responses))

    def _judge_all(self, prompts: list[str], responses: list[str]) -> list[fg.Verdict]:
        # Inputs of similar length share a batch, which reduces padding; the order is restored afterwards.
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]) + len(responses[i]))
        verdicts: dict[int, fg.Verdict] = {}
        with self._lock:
            for start in range(0, len(order), self.options.batch_size):
                chunk = order[start : start + self.options.batch_size]
                rows = self._logits([prompts[i] for i in chunk], [responses[i] for i in chunk])
                verdicts.update((i, self._verdict(row)) for i, row in zip(chunk, rows, strict=True))
        return [verdicts[i] for i in range(len(prompts))]

    def _logits(self, prompts: list[str], responses: list[str]) -> list[list[float]]:
        import torch

        template = self.options.template
        if template is None:
            texts: tuple[list[str], ...] = (prompts, responses)
        else:
            pairs = zip(prompts, responses, strict=True)
            texts = ([template.replace("{prompt}", p).replace("{response}", r) for p, r in pairs],)
        encoded = self._tokenizer(
            *texts, padding=True, truncation=True, max_length=self._longest(), return_tensors="pt"
        ).to(self._model.device)
        with torch.no_grad():
            logits = self._model(**encoded).logits.double().cpu()
        rows: list[list[float]] = logits.tolist()
        return rows

    def _verdict(self, logits: list[float]) -> fg.Verdict:
        if not all(math.isfinite(x) for x in logits):
            return fg.Verdict.unscorable(f"the classifier's output is not finite: {logits}")
        if len(logits) == 1:
            probability = logistic(logits[0])
            components = {"logit": logits[0]}
        else:
            top = max(logits)
            weights = [math.exp(x - top) for x in logits]
            probabilities = [w / sum(weights) for w in weights]
            probability = probabilities[self._index]
            components = {f"label/{self._labels[i]}": p for i, p in enumerate(probabilities)}
        score = 1 - probability if self.options.invert else probability
        return fg.Verdict(score, fg.Status.SCORED, components)

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils import logging

        from fdiv_gym.models import refuse_code, resolve_device

        folder, where = self.options.model, {"revision": self.options.revision, "trust_remote_code": False}
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            refuse_code(folder, self.options.revision, offline=Path(folder).is_dir(), trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(folder, **where)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, **where
            )
        except Exception as error:  # a wrong configuration or tokenizer raises any class
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            raise fg.JudgeError(f"judge 'classifier' cannot load {self.options.model!r}: {reason}") from None
        finally:
            if bars:
                logging.enable_progress_bar()
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if model.config.pad_token_id is None:
            model.config.pad_token_id = tokenizer.pad_token_id
        return model.to(resolve_device(self.options.device)).eval(), tokenizer

    def _longest(self) -> int:
        """The limit of tokens: ``max_tokens``, or the positions of the model if fewer."""
        config = self._model.config
        positions = getattr(config, "max_position_embeddings", None) or self.options.max_tokens
        if "roberta" in str(config.model_type):  # its positions start after the index of the pad token
            positions -= config.pad_token_id + 1
        return int(min(self.options.max_tokens, positions, self._tokenizer.model_max_length))

    def _label_index(self) -> int:
        label = self.options.label
        if label is None:
            if len(self._labels) > 1:
                raise fg.ConfigError(f"judge 'classifier': give label, one of {list(self._labels.values())}")
            return 0
        by_name = {name: i for i, name in self._labels.items()} | {str(i): i for i in self._labels}
        if label not in by_name:
            raise fg.ConfigError(f"judge 'classifier': no label {label!r}, the model has {list(self._labels.values())}")
        return by_name[label]


def logistic(x: float) -> float:
    """1 / (1 + e^-x) without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
