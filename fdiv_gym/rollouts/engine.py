"""Engine: draws responses from a policy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic

from fdiv_gym.errors import EngineError
from fdiv_gym.registry import options as _options
from fdiv_gym.registry.lookup import Spec, get
from fdiv_gym.types.trajectory import Completion, Sampling

if TYPE_CHECKING:
    import torch

    from fdiv_gym.envs.base import Environment
    from fdiv_gym.models.config import ModelConfig


class Engine(_options.Configurable):
    """Base of rollout engines.

    Order of calls: ``Engine(**options)``, ``start(model, tokenizer)``, then any number of ``generate`` and
    ``update_weights``, then ``close``.

    Attributes:
        logprob_tolerance: mean difference of a token's log-prob from the trainer's forward pass, in nats, that this
            engine's rounding causes at most, e.g. because it computes in half precision; None for an engine that
            computes as the trainer does. A trainer stops where the difference is larger.
        merged_weights: what ``update_weights`` gets when an adapter is trained: False, the state dict of the very model
            that ``start`` got, adapter included; True, the weights of one plain model, adapter merged.
        context_length: tokens of a prompt and its response, at most; None if there is no limit, or it is not known.
            An episode whose next response would not fit ends there.
    """

    class Options(_options.Options):
        """Options of every engine; nest ``class Options(fg.Engine.Options)`` to add more."""

        max_new_tokens: int = pydantic.Field(64, ge=1)
        """Longest response, in tokens, the end token included."""
        temperature: float = pydantic.Field(1.0, gt=0)
        """Divides the logits in sampling; training uses the log-probs of the resulting distribution."""
        top_p: float = pydantic.Field(1.0, gt=0, le=1)
        """Keep the most likely tokens of this total probability; 1 keeps all."""
        top_k: int = pydantic.Field(0, ge=0)
        """Keep this many tokens; 0 keeps all."""

    kind: ClassVar[str] = "engine"
    logprob_tolerance: float | None = None
    merged_weights: bool = False
    context_length: int | None = None

    def sampling(self, seed: int, greedy: bool = False) -> Sampling:
        """The sampling parameters in the options."""
        o = self.options
        return Sampling(o.max_new_tokens, 0.0 if greedy else o.temperature, o.top_p, o.top_k, seed)

    def start(self, model: Any, tokenizer: Any) -> None:
        """Prepare to generate from a transformers model; the engine may share or copy the weights.

        Raises:
            EngineError: the engine cannot serve this model on this machine.
        """
        raise NotImplementedError

    def load(self, model: ModelConfig, env: Environment | None = None) -> Any:
        """Load a model, ``start`` with it and return its tokenizer; for use without a trainer.

        Args:
            model: ``embedded``, a local folder or a hub id.
            env: the environment for the warm start of the embedded model.

        Raises:
            EngineError: this engine only serves models that a trainer passes to it.
            TrainerError: no such model.
        """
        raise EngineError(f"engine {self.registered_name()!r} cannot load a model by itself")

    def generate(self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling) -> list[list[Completion]]:
        """``n`` completions for each tokenised prompt, in the order of the prompts.

        The log-probs are *processed* ones, as some engines call them: natural logarithms under the distribution that
        the token was drawn from, after temperature, and after top_p and top_k renormalised over the tokens that
        these keep. Raw log-probs, taken before, are another distribution's. The text is that of the tokens.

        Raises:
            EngineError: an empty prompt, or a prompt that leaves no room in the model's context.
        """
        raise NotImplementedError

    def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        """Replace the weights; the names are those of the model's ``state_dict`` (see ``merged_weights``).

        Raises:
            EngineError: a name or a shape does not fit.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release memory and processes; may be called more than once."""


def get_engine(spec: Spec | Engine, **options: Any) -> Engine:
    """A rollout engine, e.g. ``get_engine("transformers")``; see ``fdiv_gym.get``."""
    plugin: Engine = get("engine", spec, **options)
    return plugin
