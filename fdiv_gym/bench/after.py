"""What training has done to the policy: each response of the last evaluation under the final and the initial model.

For every sampled response, in the order of ``Record.tasks``: its tokens, log pi - log pi_ref summed over them, and the
mean exact entropy of the policy's next token, both of the tempered distributions that were sampled from. The samples
hold texts and not tokens, so a response is encoded again. It has no log-ratio and no entropy where that does
not give as many tokens as were sampled, or a log-prob that is not the recorded one: then other tokens were sampled.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdiv_gym.bench.cells import Cell
from fdiv_gym.bench.process import RUN
from fdiv_gym.bench.record import Record, read_record
from fdiv_gym.envs.base import Environment
from fdiv_gym.errors import TrainerError
from fdiv_gym.evaluation import configure
from fdiv_gym.files import replacing
from fdiv_gym.models import ChatEncoder, EnvDemonstrations, initial_model, load_tokenizer, model_source, resolve_device
from fdiv_gym.registry.guard import boundary, close_plugin
from fdiv_gym.runs.config import RunConfig
from fdiv_gym.runs.folder import SAMPLES, RunFolder
from fdiv_gym.types.trajectory import Completion, StopReason
from fdiv_gym.types.transcript import Transcript

AFTER = "after.json"
LARGEST_GAP = 0.1
"""Nats a token between the recorded log-prob and that of the encoded response; rounding in bf16 stays below."""
LOGITS_AT_ONCE = 2**26
"""Logits of a forward pass: 256 MB in fp32."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Turn:
    """One sampled response as the policy saw and sampled it.

    Args:
        prompt: tokens before it.
        response: its tokens.
    """

    prompt: tuple[int, ...]
    response: tuple[int, ...]


def measure_after(cells: Sequence[Cell], folder: Path, say: Say = lambda text: None) -> tuple[str, ...]:
    """Write ``after.json`` of every cell that is done; one whose key is that of the record is kept.

    Args:
        cells: of the table.
        folder: of the bench.
        say: takes a line about each cell.

    Returns:
        The ids of the cells that lack it, because they are not done.

    Raises:
        ConfigError, TrainerError: a run has no final checkpoint, or its initial model cannot be built again.
    """
    missing = []
    for cell in cells:
        place = folder / cell.folder
        record = read_record(place)
        if record is None or record.status != "done":
            missing.append(cell.id)
        elif RunFolder(place).read_json(AFTER).get("key") != record.key:
            found = {"key": record.key, **after_of(place / RUN, record)}
            with RunFolder(place).writing(AFTER), replacing(place / AFTER) as file:
                json.dump(found, file, allow_nan=False)
                file.write("\n")
            say(f"{cell.id}: {len(found['tokens'])} responses compared with the untrained model")
    return tuple(missing)


def after_of(run: Path, record: Record) -> dict[str, list[Any]]:
    """``tokens``, ``log_ratio`` (nats) and ``entropy`` (nats a token) of each response, see the module.

    Args:
        run: the run folder.
        record: of its cell.

    Raises:
        ConfigError, TrainerError: the run has no checkpoint of its last step, or its models cannot be loaded.
    """
    assert record.budget is not None
    final, _ = configure(str(run), step=record.budget.steps, trust_endpoints=True, trust_remote_code=True)
    initial, _ = configure(str(run), step=0, trust_endpoints=True, trust_remote_code=True)
    samples = _last_samples(run, record)
    options = final.engine.checked_options
    temperature = float(getattr(options, "temperature", 1.0))
    exact = getattr(options, "top_p", 1.0) == 1.0 and getattr(options, "top_k", 0) == 0
    assert final.env is not None
    env = final.env.build()
    try:
        model, encoder = _loaded(final, env)
        turns = [_turns(line, env, encoder) for line in samples]
        pi = _sums(model, turns, temperature)
        del model
        for i, line in enumerate(samples):
            if not _is_same(line, turns[i], pi[i][0] if exact else None):
                turns[i] = []
        model, _ = _loaded(initial, env)
        ref = _sums(model, turns, temperature)
    finally:
        close_plugin(env)
    return {
        "tokens": [int(line["tokens"]) for line in samples],
        "log_ratio": [_number(a[0] - b[0]) if t else None for a, b, t in zip(pi, ref, turns, strict=True)],
        "entropy": [
            _number(a[1] / line["tokens"]) if t else None for a, line, t in zip(pi, samples, turns, strict=True)
        ],
    }


def _last_samples(run: Path, record: Record) -> list[dict[str, Any]]:
    """The records of the last evaluation's sampled responses, in the order of ``record.tasks``."""
    assert record.budget is not None
    wanted = (record.budget.steps, "heldout", "sampled")
    lines = [x for x in RunFolder(run).lines(SAMPLES) if (x.get("step"), x.get("split"), x.get("mode")) == wanted]
    lines.sort(key=lambda line: (line["index"], line["task_hash"], line["sample"]))
    found = [line["verdict"]["score"] for line in lines]
    if found != [score for scores in record.tasks.values() for score in scores]:
        raise TrainerError(f"{run / SAMPLES} has other scores at the last evaluation than the record of the cell")
    return lines


def _loaded(config: RunConfig, env: Environment) -> tuple[Any, ChatEncoder]:
    """A model on the device, for evaluation only, and its encoder."""
    source = model_source(config.model, EnvDemonstrations(env))
    tokenizer = load_tokenizer(source, config.model.revision, trust_remote_code=config.model.trust_remote_code)
    model = initial_model(config.model, source).to(resolve_device("auto")).eval()
    return model, ChatEncoder.of(tokenizer, config.model)


def _turns(line: Mapping[str, Any], env: Environment, encoder: ChatEncoder) -> list[Turn]:
    """The prompts and responses of an episode, encoded again."""
    with boundary(env, "use_template"):
        env.use_template(encoder.shows_tools, encoder.parse_calls if encoder.declares_calls else None)
    transcript = Transcript.from_dict(line["transcript"])
    messages, tools = transcript.messages, getattr(env, "tools", ())
    places = [i for i in range(transcript.opening, len(messages)) if messages[i].role == "assistant"]
    sampled: dict[int, Completion] = {}
    turns = []
    for place in places:
        text = messages[place].content
        tokens = tuple(encoder.response(text))
        reason: StopReason = "eos"
        if place == places[-1] and line["stop_reason"] == "length":
            tokens, reason = tokens[:-1], "length"
        turns.append(Turn(tuple(encoder.prompt(messages[:place], sampled, tools)), tokens))
        sampled[place] = Completion(tokens, (0.0,) * len(tokens), text, reason)
    return turns


def _is_same(line: Mapping[str, Any], turns: Sequence[Turn], logprob: float | None) -> bool:
    """Whether the encoded tokens are as many as were sampled, and have the recorded log-prob where that can be told."""
    count = sum(len(turn.response) for turn in turns)
    if not count or count != line["tokens"]:
        return False
    if logprob is None or line["logprob"] is None:
        return True
    return abs(logprob - float(line["logprob"])) <= LARGEST_GAP * count


def _sums(model: Any, episodes: Sequence[Sequence[Turn]], temperature: float) -> list[tuple[float, float]]:
    """The log-probs of each episode's response tokens and the entropies of their distributions, summed."""
    sums = [(0.0, 0.0)] * len(episodes)
    flat = [(i, turn) for i, turns in enumerate(episodes) for turn in turns if turn.response]
    flat.sort(key=lambda pair: len(pair[1].prompt) + len(pair[1].response))
    vocabulary = int(model.config.get_text_config().vocab_size)
    while flat:
        longest = len(flat[-1][1].prompt) + len(flat[-1][1].response)
        part = flat[-max(1, LOGITS_AT_ONCE // (longest * vocabulary)) :]
        del flat[-len(part) :]
        for (i, _), logp, entropy in zip(part, *_scores(model, [turn for _, turn in part], temperature), strict=True):
            sums[i] = (sums[i][0] + logp, sums[i][1] + entropy)
    return sums


@torch.no_grad()
def _scores(model: Any, turns: Sequence[Turn], temperature: float) -> tuple[list[float], list[float]]:
    """Summed log-probs and entropies of each turn's response, in fp64 from the model's logits."""
    width = max(len(turn.prompt) + len(turn.response) for turn in turns)
    ids = torch.zeros((len(turns), width), dtype=torch.long)
    seen, mask = torch.zeros_like(ids), torch.zeros((len(turns), width), dtype=torch.bool)
    for row, turn in enumerate(turns):
        end = len(turn.prompt) + len(turn.response)
        ids[row, :end] = torch.tensor(turn.prompt + turn.response)
        seen[row, :end] = 1
        mask[row, len(turn.prompt) : end] = True
    device = next(model.parameters()).device
    logits: Tensor = model(input_ids=ids.to(device), attention_mask=seen.to(device), use_cache=False).logits
    rows, places = mask[:, 1:].nonzero(as_tuple=True)
    logps = (logits[rows, places].double() / temperature).log_softmax(-1)
    own = logps.gather(-1, ids[:, 1:][rows, places].to(device)[:, None]).squeeze(-1)
    entropy = -torch.xlogy(logps.exp(), logps.exp()).sum(-1)
    sums = [torch.zeros(len(turns), dtype=torch.float64).index_add_(0, rows, x.cpu()).tolist() for x in (own, entropy)]
    return sums[0], sums[1]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
