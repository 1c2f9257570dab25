"""f-grpo with several updates per rollout: importance weights none, token and sequence, on exact tables.

    python benchmarks/importance.py

Two kinds of tables. With one token in a response (fdiv_gym.theory.train_tabular) the two weightings coincide. With
four tokens the policy has a logit for each prefix; every expectation is still a sum, over 256 responses. Twenty blocks
of prompts are trained at once: no parameter is shared and Adam works by element, so they are twenty repetitions.
Writes benchmarks/results/importance.md in about a minute.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import fdiv_gym as fg
from fdiv_gym.objectives import Objective
from fdiv_gym.theory import Table, train_tabular

RESULT = Path(__file__).parent / "results" / "importance.md"
BLOCKS, STEPS, GROUP, PROMPTS = 20, 15, 8, 4
T_975 = 2.093  # of Student's t with 19 degrees of freedom
VOCABULARY, LENGTH = 4, 4
RESPONSES = torch.tensor(list(itertools.product(range(VOCABULARY), repeat=LENGTH)))  # [256, 4]
#: The row of the logits that predicts each token: position and prefix.
PREFIXES = torch.stack(
    [
        sum(VOCABULARY**k for k in range(t)) + sum(RESPONSES[:, j] * VOCABULARY ** (t - 1 - j) for j in range(t))
        + torch.zeros(len(RESPONSES), dtype=torch.long)
        for t in range(LENGTH)
    ],
    dim=1,
)  # fmt: skip
VARIANTS: dict[str, dict[str, object]] = {
    "none": {},
    "token, cap 2": {"importance": "token"},
    "sequence, cap 2": {"importance": "sequence"},
    "sequence, cap 1000": {"importance": "sequence", "importance_cap": 1000.0},
}


def one_token_rewards(objective: Objective, updates: int, rate: float) -> Tensor:
    """[BLOCKS] exact average reward after training on tables of 32 responses, of which 30 % are right."""
    generator = torch.Generator().manual_seed(0)
    tables = [
        Table(
            torch.softmax(2 * torch.randn(32, generator=generator, dtype=torch.float64), 0),
            (torch.rand(32, generator=generator) < 0.3).double(),
        )
        for _ in range(BLOCKS * PROMPTS)
    ]
    run = train_tabular(objective, tables, steps=STEPS, group_size=GROUP, rate=rate, seed=0, updates=updates)
    return blocks(run.policy, torch.stack([table.rewards for table in tables]))


def blocks(policy: Tensor, rewards: Tensor) -> Tensor:
    """[BLOCKS] mean over the prompts of a block of the expected reward; both arguments are [prompts, responses]."""
    return (policy * rewards).sum(-1).reshape(BLOCKS, PROMPTS).mean(-1)


def token_logps(logits: Tensor) -> Tensor:
    """[P, 256, 4]: log-prob of each token of each response."""
    logps = torch.log_softmax(logits, -1)  # [P, prefixes, vocabulary]
    return logps[:, PREFIXES, RESPONSES]


def four_token_rewards(objective: Objective, updates: int, rate: float) -> Tensor:
    """[BLOCKS] exact average reward after training a policy with one logit for each prefix and token."""
    generator = torch.Generator().manual_seed(0)
    count, prefixes = BLOCKS * PROMPTS, int(PREFIXES.max()) + 1
    start = torch.randn(count, prefixes, VOCABULARY, generator=generator, dtype=torch.float64)
    rewards = (torch.rand(count, len(RESPONSES), generator=generator) < 0.3).double()
    logits = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=rate)
    reference = token_logps(start)
    every = torch.arange(count).unsqueeze(-1)
    mask = torch.ones(count * GROUP, LENGTH, dtype=torch.bool)
    for _ in range(STEPS):
        old = token_logps(logits.detach())
        drawn = torch.multinomial(old.sum(-1).exp(), GROUP, replacement=True, generator=generator)
        rewards_drawn, ref_drawn, old_drawn = (x[every, drawn].flatten(0, 1) for x in (rewards, reference, old))
        groups = fg.GroupBatch.of_equal_size(rewards_drawn, GROUP, old_drawn.sum(-1))
        rows = objective.prepare(groups, None)["rollouts"].rows
        for _ in range(updates):
            optimizer.zero_grad()
            logps = token_logps(logits)[every, drawn].flatten(0, 1)
            objective.loss("rollouts", fg.MicroBatch(logps, mask, ref_drawn, old_drawn, rows)).loss.backward()
            optimizer.step()
    return blocks(token_logps(logits.detach()).sum(-1).exp(), rewards)


def table_of(rewards: Callable[[Objective, int, float], Tensor], variants: list[str], rate: float) -> list[str]:
    """Rows of a table: mean reward, and the paired difference to ``none`` with its 95 % interval."""
    lines = ["| gamma | updates | weights | reward | minus none, 95 % interval |", "|---|---|---|---|---|"]
    for gamma, updates in itertools.product((0.0, 1.0), (4, 16)):
        found = {
            name: rewards(fg.get_objective("f-grpo", gamma=gamma, **VARIANTS[name]), updates, rate) for name in variants
        }
        for name, values in found.items():
            gap = values - found["none"]
            half = T_975 * float(gap.std()) / BLOCKS**0.5
            text = "" if name == "none" else f"{float(gap.mean()):+.4f} ± {half:.4f}"
            lines.append(f"| {gamma:g} | {updates} | {name} | {float(values.mean()):.4f} | {text} |")
    return lines


def main() -> None:
    """Measure and write the page."""
    torch.set_num_threads(1)
    lines = [
        "# Importance weights of f-grpo under several updates",
        "",
        f"`python benchmarks/importance.py`: f-grpo (pearson, beta 0.1), {STEPS} steps of {GROUP} responses to each "
        f"prompt, updates on all of them by Adam. {BLOCKS} blocks of {PROMPTS} prompts with parameters and samples of "
        "their own. Rewards are exact averages under the final policy; differences are paired by block, with 95 % "
        "t-intervals.",
    ]
    for rate in (0.02, 0.1):
        lines += ["", f"## Responses of one token, learning rate {rate}", ""]
        lines += table_of(one_token_rewards, ["none", "sequence, cap 2", "sequence, cap 1000"], rate)
        lines += ["", f"## Responses of four tokens, learning rate {rate}", ""]
        lines += table_of(four_token_rewards, list(VARIANTS), rate)
    RESULT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
