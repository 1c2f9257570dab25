"""Tokens per second of the rollout engines on one model: the engine transformers, each of its parts left out, and vLLM.

    python benchmarks/engines.py --model FOLDER [--prompts 8] [--samples 8] [--tokens 16] [--rounds 3] [--json FILE]

The variants alternate in one process. A variant "without ..." has that part replaced by the plain way of doing it. vLLM
is among them where it is installed (make test-vllm makes such an environment).
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import fdiv_gym as fg
from fdiv_gym.models import ChatEncoder, load_model, load_tokenizer

PLUGIN = "fdiv_gym_transformers.engine"


def concatenated(cache: Any, repeats: int) -> Any:
    """The cache of transformers, which copies all keys and values for each token."""
    cache.batch_repeat_interleave(repeats)
    return cache


def multinomial(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A draw by one exponential number for each token of the vocabulary."""
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)


PARTS: dict[str, dict[str, Any]] = {
    "transformers": {},
    "without the cache in place": {"repeated": concatenated},
    "without draws by inversion": {"by_inversion": multinomial},
    "without shared tokens of prompts": {"common_prefix": lambda prompts: 0},
    "without all three": {"repeated": concatenated, "by_inversion": multinomial, "common_prefix": lambda prompts: 0},
}


@contextlib.contextmanager
def replaced(parts: dict[str, Any]) -> Iterator[None]:
    """Run with these parts of the engine replaced."""
    with contextlib.ExitStack() as stack:
        for name, part in parts.items():
            stack.enter_context(mock.patch(f"{PLUGIN}.{name}", part))
        yield


def measured(options: argparse.Namespace) -> dict[str, list[float]]:
    """Tokens per second of each variant, one number a round."""
    tokenizer = load_tokenizer(options.model)
    encoder = ChatEncoder(tokenizer, "auto")
    prompts = [
        encoder.prompt(f"What is {17 + i} + {25 + 3 * i}? Reply with the result only.") for i in range(options.prompts)
    ]
    engines: dict[str, fg.Engine] = {
        name: fg.get_engine("transformers", max_new_tokens=options.tokens) for name in PARTS
    }
    if importlib.util.find_spec("vllm") is not None:
        engines["vllm"] = fg.get_engine("vllm", max_new_tokens=options.tokens)
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    model = load_model(options.model).eval()
    try:
        for engine in engines.values():
            engine.start(model, tokenizer)
        for round_number in range(options.rounds + 1):  # the first warms up
            for name, engine in engines.items():
                with replaced(PARTS.get(name, {})):
                    begun = time.perf_counter()
                    groups = engine.generate(prompts, options.samples, engine.sampling(round_number))
                    seconds = time.perf_counter() - begun
                if round_number:
                    speeds[name].append(sum(len(c.token_ids) for group in groups for c in group) / seconds)
    finally:
        for engine in engines.values():
            engine.close()
    return speeds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--json", type=Path)
    for name, default in (("prompts", 8), ("samples", 8), ("tokens", 16), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    speeds = measured(options)
    print("| engine | tokens/s, median | least and most |\n|---|---|---|")
    for name, values in speeds.items():
        print(f"| {name} | {statistics.median(values):.0f} | {min(values):.0f} to {max(values):.0f} |")
    if options.json is not None:
        record = {"threads": torch.get_num_threads(), "torch": torch.__version__, "tokens_per_second": speeds}
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
