"""TextEngine: an engine that exchanges text with a model elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from fdiv_gym.errors import EngineError
from fdiv_gym.rollouts.engine import Engine
from fdiv_gym.types.message import Message
from fdiv_gym.types.text import TextCompletion
from fdiv_gym.types.trajectory import Completion, Sampling

if TYPE_CHECKING:
    import torch

    from fdiv_gym.envs.base import Environment
    from fdiv_gym.models.config import ModelConfig


class TextEngine(Engine):
    """Base of engines that get chats and return text, such as a server of somebody else's model.

    They evaluate. They do not train: no weights can be sent to them, and no tokens with log-probs come back.
    Order of calls: ``Engine(**options)``, ``load(model)``, then any number of ``respond``, then ``close``.
    """

    def load(self, model: ModelConfig, env: Environment | None = None) -> None:
        """Find the model ``model.name_or_path``; ``embedded`` is the only one there is.

        Raises:
            ConfigError: the model cannot be reached with these options.
            EngineError: there is no such model.
        """
        raise NotImplementedError

    def respond(self, chats: Sequence[Sequence[Message]], n: int, sampling: Sampling) -> list[list[TextCompletion]]:
        """``n`` responses to each chat, in the order of the chats.

        Raises:
            EngineError: a chat without messages, or there is no response; never an empty response in its place.
        """
        raise NotImplementedError

    def start(self, model: Any, tokenizer: Any) -> NoReturn:
        """Refuse to train.

        Raises:
            EngineError: always.
        """
        raise EngineError(cannot_train(self.registered_name()))

    def generate(self, prompts: Sequence[Sequence[int]], n: int, sampling: Sampling) -> list[list[Completion]]:
        """Refuse tokens.

        Raises:
            EngineError: always.
        """
        raise EngineError(cannot_train(self.registered_name()))

    def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> NoReturn:
        """Refuse weights.

        Raises:
            EngineError: always.
        """
        raise EngineError(cannot_train(self.registered_name()))


def cannot_train(name: str) -> str:
    """The message of a text engine that is asked to train."""
    return (
        f"engine {name!r} evaluates a model elsewhere and cannot train one: no weights can be sent to it, and it "
        "returns text without tokens and log-probs; train with another engine (fdiv-gym list engine), evaluate with "
        f"fdiv-gym eval MODEL --engine {name}"
    )
