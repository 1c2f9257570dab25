"""A sharded run whose second process fails in one of several ways: run by test_sharding.py, once for each process."""

import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from conftest_trainer import tiny_config

import fdiv_gym as fg
from fdiv_gym_accelerate import parts
from fdiv_gym_math.addition import Addition

CALLS: list[int] = []


def score(_env, _task, response):
    """Verdicts of both kinds; in the second process an error after twenty of them."""
    CALLS.append(1)
    if sys.argv[1] == "scoring" and PartialState().process_index == 1 and len(CALLS) > 20:
        raise ZeroDivisionError("planted")
    return fg.Verdict.scored(float(sum(map(ord, response)) % 2))


def load_policy(*args, _load=parts.load_policy, **kwargs):
    """The policy; in the second process its backward pass fails, or waits for ever, between its layers."""
    policy = _load(*args, **kwargs)

    def fail(_grad):
        if sys.argv[1] == "silence":
            signal.pause()
        raise ZeroDivisionError("planted")

    def hook(_module, _inputs, output):
        if torch.is_grad_enabled():
            (output if isinstance(output, torch.Tensor) else output[0]).register_hook(fail)

    if sys.argv[1] in ("gradient", "silence") and PartialState().process_index == 1:
        policy.model.get_decoder().layers[0].register_forward_hook(hook)
    return policy


def main(how: str, folder: Path) -> None:
    Addition.score, parts.load_policy = score, load_policy
    config = tiny_config(
        model={"embedded": {"layers": 2, "heads": 1, "head_dim": 32, "warm_start_steps": 2, "warm_start_batch": 4}},
        trainer__sharding="fully_shard", trainer__prompts_per_step=3, trainer__micro_batch_size=4,
        trainer__process_deadline_s=15, trainer__check_plugins=False,
    )  # fmt: skip
    fg.train(config, folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
