"""Steps of the trainer against those of TRL's GRPOTrainer: same model, prompts, rewards and size of a step.

python benchmarks/vs_trl.py [--pairs 5] [--steps 4] [--prompts 16] [--model FOLDER] [--json FILE]

Each side of a pair runs in a process of its own; pairs alternate. A side trains the model with random weights (or, with
``--model``, a given one) on prompts of fixed length, with rewards that depend on the text alone: of no group all
equal, or of half of the groups. A step is 16 prompts with 8 responses of at most 24 tokens (4 prompts of 200 and
responses of 32 tokens with ``--model``). The first step is left out; the time of a side is the median of the others.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import fdiv_gym as fg

RESULT = Path(__file__).parent / "results" / "vs_trl.md"
RESULT_OF_MODEL = RESULT.with_name("vs_trl_model.md")
GROUP = 8
CASES = {"none": 0, "half": 2}
"""Every n-th group has equal rewards; 0 for no group."""
GOALS = {"small": {"none": 1.0, "half": 1.6}, "model": {"none": 2.0, "half": 3.0}}
WORDS = "abcdefghijklmnopqrstuvwxyz0123456789"


def prompts(count: int, length: int) -> list[str]:
    """Different texts; each begins with a letter for even and a digit for odd places."""
    texts = []
    for i in range(count):
        digest = hashlib.sha256(str(i).encode()).hexdigest()
        begin = WORDS[i % 26] if i % 2 == 0 else WORDS[26 + i % 10]
        texts.append((begin + digest * (length // 64 + 1))[:length])
    return texts


def reward(prompt: str, response: str, case: str) -> float:
    """A number from the response's text; with ``half`` it is 0 for prompts that begin with a digit."""
    if CASES[case] and prompt[0].isdigit():
        return 0.0
    return int(hashlib.sha256(response.encode()).hexdigest()[:8], 16) / 2**32


class Texts(fg.TextEnv):
    """The prompts and rewards as an environment; its class variables are set before a run."""

    case, count, length = "none", 16, 16

    def tasks(self, split: str) -> list[fg.Task]:
        """As many as a step has, so that each step has all of them."""
        return [fg.Task(prompt=text, answer="") for text in prompts(self.count, self.length)]

    def score(self, task: fg.Task, response: str) -> fg.Verdict:
        """See ``reward``."""
        return fg.Verdict.scored(reward(str(task.prompt), response, self.case))


def small_model(folder: Path) -> Path:
    """A model of 3.5 M parameters with random weights and one token for each character."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from fdiv_gym.models.embedded import character_tokenizer

    tokenizer = character_tokenizer()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=768, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, head_dim=64, max_position_embeddings=512, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ours(model: Path, objective: dict[str, Any], options: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds of each step."""
    from fdiv_gym.runs import METRICS, RunFolder

    os.environ["FDIV_GYM_QUIET"] = "1"
    Texts.case, Texts.count, Texts.length = options.case, options.prompts, options.prompt_tokens
    fg.train(
        {
            "env": {"id": Texts},
            "model": {"name_or_path": str(model), "chat": "never"},
            "engine": {"max_new_tokens": options.response_tokens},
            "objective": objective,
            "trainer": {
                "steps": options.steps + 1, "prompts_per_step": options.prompts, "group_size": GROUP,
                "evaluate_tasks": 1, "evaluate_samples": 1, "evaluate_every": 0, "checkpoint_every": 0,
                "learning_rate": 1e-6, "warmup_steps": 0, "samples_per_step": 0, "check_plugins": False,
            },
        },
        folder / "run",
    )  # fmt: skip
    return [line["time/seconds"] for line in RunFolder(folder / "run").lines(METRICS)]


def theirs(model: Path, options: argparse.Namespace, folder: Path) -> list[float]:
    """Seconds of each step."""
    warnings.filterwarnings("ignore")
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.begun = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.begun)

    def score(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
        return [reward(p, c, options.case) for p, c in zip(prompts, completions, strict=True)]

    rows = options.prompts * GROUP
    config = GRPOConfig(
        output_dir=str(folder / "trl"), per_device_train_batch_size=rows, num_generations=GROUP, use_cpu=True,
        max_completion_length=options.response_tokens, max_steps=options.steps + 1, learning_rate=1e-6, bf16=False,
        report_to="none", save_strategy="no", logging_steps=1, beta=0.0, loss_type="grpo", disable_tqdm=True,
        gradient_checkpointing=False, temperature=1.0, dataloader_pin_memory=False,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": text} for text in prompts(options.prompts, options.prompt_tokens)])
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"), reward_funcs=score, args=config,
        train_dataset=data, processing_class=AutoTokenizer.from_pretrained(model), callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    return seconds


OBJECTIVES = {
    "grpo": {"name": "grpo", "beta": 0.0},
    "f-grpo": {"name": "f-grpo", "divergence": "pearson", "beta": 0.1},
}


def side(options: argparse.Namespace) -> dict[str, float]:
    """One side; run in a fresh process."""
    import torch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = Path(options.model) if options.model else small_model(folder / "model")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if options.side == "trl":
            seconds = theirs(model, options, folder)
        else:
            seconds = ours(model, OBJECTIVES[options.side], options, folder)
    return {
        "seconds": statistics.median(seconds[1:]), "threads": torch.get_num_threads(),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "before_mb": before / 1024,
    }  # fmt: skip


def measured(options: argparse.Namespace, name: str, case: str) -> dict[str, float]:
    """``side`` in a process of its own."""
    command = [sys.executable, __file__, "--side", name, "--case", case, "--steps", str(options.steps)]
    command += ["--prompts", str(options.prompts)]
    command += ["--prompt-tokens", str(options.prompt_tokens), "--response-tokens", str(options.response_tokens)]
    command += ["--model", options.model] if options.model else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(options: argparse.Namespace) -> dict[str, Any]:
    """All pairs: TRL, then each objective, for each case."""
    rows = []
    for case in CASES:
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("trl", *OBJECTIVES)}
        for i in range(options.pairs):
            order = list(runs) if i % 2 == 0 else list(reversed(runs))
            for name in order:
                runs[name].append(measured(options, name, case))
                print(f"{case} {i + 1}/{options.pairs} {name}: {runs[name][-1]}", file=sys.stderr)
        for name in OBJECTIVES:
            ratios = [t["seconds"] / o["seconds"] for t, o in zip(runs["trl"], runs[name], strict=True)]
            rows.append(
                {
                    "case": case, "objective": name, "faster": statistics.median(ratios), "least": min(ratios),
                    "most": max(ratios), "seconds": statistics.median(r["seconds"] for r in runs[name]),
                    "trl_seconds": statistics.median(r["seconds"] for r in runs["trl"]),
                    "peak_mb": statistics.median(r["peak_mb"] for r in runs[name]),
                    "trl_peak_mb": statistics.median(r["peak_mb"] for r in runs["trl"]),
                    "goal": GOALS["model" if options.model else "small"][case], "threads": runs["trl"][0]["threads"],
                }
            )  # fmt: skip
    return {
        "rows": rows, "pairs": options.pairs, "steps": options.steps, "prompts": options.prompts,
        "prompt_tokens": options.prompt_tokens,
        "response_tokens": options.response_tokens, "model": Path(options.model).name if options.model else "small",
        "load_average": os.getloadavg()[0],
    }  # fmt: skip


def page(found: dict[str, Any]) -> str:
    """The table."""
    lines = [
        f"# Steps against TRL, model {found['model']}",
        "",
        f"`python benchmarks/vs_trl.py`: {found['pairs']} alternating pairs of {found['steps']} steps of "
        f"{found['prompts']} x {GROUP} responses against TRL's GRPOTrainer (no reference), prompts of "
        f"{found['prompt_tokens']} and responses of at most {found['response_tokens']} tokens, "
        f"{found['rows'][0]['threads']:g} threads, load average {found['load_average']:.1f}. `f-grpo` computes a "
        "reference besides.",
        "",
        "| equal groups | objective | seconds a step | TRL | faster, median (least to most) | goal | peak MB | TRL |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        lines.append(
            f"| {row['case']} | {row['objective']} | {row['seconds']:.2f} | {row['trl_seconds']:.2f} | "
            f"{row['faster']:.2f} ({row['least']:.2f} to {row['most']:.2f}) | {row['goal']} | {row['peak_mb']:.0f} | "
            f"{row['trl_peak_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--model", default="", help="a model folder, e.g. of SmolLM2-135M")
    parser.add_argument("--prompts", type=int, help="prompts of a step, even; 16, or 4 with --model")
    parser.add_argument("--prompt-tokens", type=int)
    parser.add_argument("--response-tokens", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", choices=tuple(CASES), default="none", help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("trl", *OBJECTIVES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.prompts = options.prompts or (4 if options.model else 16)
    options.prompt_tokens = options.prompt_tokens or (200 if options.model else 16)
    options.response_tokens = options.response_tokens or (32 if options.model else 24)
    if options.side:
        print(json.dumps(side(options)))
        return
    found = compared(options)
    print(page(found))
    (RESULT_OF_MODEL if options.model else RESULT).write_text(page(found), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
