"""The embedded default model: a small Qwen3 model, built locally, with a short warm start, and cached."""

from __future__ import annotations

import hashlib
import json
import string
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from fdiv_gym.cache import cache_folder
from fdiv_gym.envs.base import Environment, RolloutOptions
from fdiv_gym.errors import ConfigError, TrainerError
from fdiv_gym.manifest import damage_of
from fdiv_gym.models.config import EmbeddedModelConfig
from fdiv_gym.models.quiet import quiet_transformers
from fdiv_gym.models.sealing import sealed
from fdiv_gym.registry.guard import demonstrations_of
from fdiv_gym.types.message import Message

RECIPE_VERSION = 1
SAMPLE = 64
"""Number of demonstrations that enter the hash of a recipe."""
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
ALPHABET = "\n" + "".join(sorted(string.digits + string.ascii_letters + string.punctuation + " "))

Progress = Callable[[int, int, float], None]
Example = tuple[str, str] | tuple[Message, ...]
"""A pair (prompt, response), or the messages of a conversation."""


class Demonstrations(Protocol):
    """The training data of the warm start."""

    def describe(self) -> dict[str, Any]:
        """The source of the demonstrations as JSON; part of the recipe's hash."""

    def draw(self, count: int, rng: np.random.Generator) -> Sequence[Example]:
        """``count`` pairs (prompt, response), or conversations."""


class EnvDemonstrations:
    """The demonstrations of an environment."""

    def __init__(self, env: Environment) -> None:
        self._env = env

    def describe(self) -> dict[str, Any]:
        """The environment and the options that its demonstrations may depend on."""
        options = self._env.options.model_dump(mode="json", exclude=set(RolloutOptions.model_fields))
        prompt = self._env.options.system_prompt
        system = {} if prompt is None else {"system_prompt": prompt}
        return {"env": self._env.registered_name(), "options": options | system}

    def draw(self, count: int, rng: np.random.Generator) -> Sequence[Example]:
        """The demonstrations of the environment, behind its system prompt.

        Raises:
            EnvError: it did not return ``count`` pairs of strings or conversations.
            PluginError: its code failed.
        """
        prompt = self._env.options.system_prompt
        found = demonstrations_of(self._env, count, rng)
        return found if prompt is None else [_behind(prompt, example) for example in found]


def _behind(prompt: str, example: Example) -> Example:
    """The example with a system prompt, unless it has one."""
    first = example[0]
    if isinstance(first, str):
        return (Message("system", prompt), Message("user", first), Message("assistant", str(example[1])))
    return example if first.role == "system" else (Message("system", prompt), *example)


def recipe_of(config: EmbeddedModelConfig, source: Demonstrations) -> dict[str, Any]:
    """Everything that determines the embedded model's weights."""
    return {
        "version": RECIPE_VERSION,
        "model": config.model_dump(mode="json"),
        "demonstrations": source.describe(),
        "sample": _digest(source.draw(SAMPLE, np.random.default_rng(config.seed))),
        "torch": torch.__version__,
    }


def _digest(examples: Sequence[Example]) -> str:
    # If the code of an environment changes, its demonstrations may change under the same options.
    plain = [[part if isinstance(part, str) else [part.role, part.content] for part in e] for e in examples]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()[:16]


def embedded_model_folder(
    config: EmbeddedModelConfig, source: Demonstrations, progress: Progress | None = None
) -> Path:
    """The folder of the model for this recipe; the model is built and cached if it is missing or damaged.

    Args:
        config: architecture and warm start.
        source: the demonstrations.
        progress: called with (step, steps, loss) during the warm start.

    Raises:
        TrainerError: the cache folder cannot be written.
    """
    recipe = recipe_of(config, source)
    name = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "models" / name
    if folder.exists():
        damage = damage_of(folder)
        if damage is None:
            return folder
        warnings.warn(f"the embedded model in {folder} is damaged: {damage}; it is built again", stacklevel=2)
    model, tokenizer = build(config)
    warm_start(model, tokenizer, config, source, progress)
    try:
        with sealed(folder) as temporary:
            with quiet_transformers():
                model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            (temporary / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
    except OSError as error:
        raise TrainerError(
            f"cannot store the embedded model in {folder}: {error}; set FDIV_GYM_CACHE to a folder with free space"
        ) from None
    return folder


def build(config: EmbeddedModelConfig) -> tuple[Any, Any]:
    """An untrained Qwen3 model and its character tokenizer."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = character_tokenizer()
    hidden = config.heads * config.head_dim
    architecture = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = Qwen3ForCausalLM(architecture)
    return model.float(), tokenizer


def character_tokenizer() -> Any:
    """One token for each printable ASCII character and the line feed, and three special ones."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate([PAD, EOS, UNKNOWN, *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )


def warm_start(
    model: Any, tokenizer: Any, config: EmbeddedModelConfig, source: Demonstrations, progress: Progress | None = None
) -> None:
    """Fit the model to the demonstrations, on the responses only."""
    if config.warm_start_steps == 0:
        return
    rng = np.random.default_rng(config.seed)
    examples = [spoken(example) for example in source.draw(config.warm_start_steps * config.warm_start_batch, rng)]
    longest = max(sum(len(text) + is_response for text, is_response in example) for example in examples)
    if longest > config.context:
        raise ConfigError(
            f"a demonstration ({source.describe()}) has {longest} characters, "
            f"but model.embedded.context is {config.context}: increase it"
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.warm_start_learning_rate)
    # OneCycleLR divides by the steps of its rise less one, which are 0 for 10 steps.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        config.warm_start_learning_rate,
        total_steps=config.warm_start_steps,
        pct_start=0.11 if config.warm_start_steps == 10 else 0.1,
    )
    model.train()
    for step in range(config.warm_start_steps):
        batch = examples[step * config.warm_start_batch : (step + 1) * config.warm_start_batch]
        ids, labels = _encode(batch, tokenizer)
        loss = model(input_ids=ids, attention_mask=(ids != tokenizer.pad_token_id).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, config.warm_start_steps, float(loss.detach()))


def spoken(example: Example) -> list[tuple[str, bool]]:
    """The texts of an example as the policy sees them, each with whether it is a response; see ``ChatEncoder``."""
    if isinstance(example[0], str):
        return [(example[0], False), (str(example[1]), True)]
    parts: list[tuple[str, bool]] = []
    for part in example:
        assert isinstance(part, Message)
        is_response = part.role == "assistant"
        if parts and not is_response and not parts[-1][1]:
            parts[-1] = (f"{parts[-1][0]}\n{part.content}", False)
        else:
            parts.append((part.content, is_response))
    return parts


def _encode(examples: Sequence[list[tuple[str, bool]]], tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    rows = []
    for example in examples:
        row: list[int] = []
        labels: list[int] = []
        for text, is_response in example:
            tokens = [*tokenizer.encode(text), *([tokenizer.eos_token_id] if is_response else [])]
            row += tokens
            labels += tokens if is_response else [-100] * len(tokens)
        rows.append((row, labels))
    width = max(len(row) for row, _ in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id, dtype=torch.long)
    targets = torch.full((len(rows), width), -100, dtype=torch.long)
    for i, (row, labels) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        targets[i, : len(row)] = torch.tensor(labels)
    return ids, targets
