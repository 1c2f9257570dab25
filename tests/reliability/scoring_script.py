"""Scores one response and prints its verdict (``PLACE RESPONSE NOTE``), or trains (``train FOLDER``).

``here`` scores with an instance passed from Python, ``worker`` with the registered plugin.
"""

import os
import sys

import foreign_scorers

import fdiv_gym as fg
from fdiv_gym.registry import scoped_registry
from fdiv_gym.rollouts import score_checked


def score(place: str, response: str, note: str) -> None:
    """Score one response to the first task."""
    with scoped_registry() as registry:
        registry.add(fg.Entry("environment", "foreign/Words-v0", "foreign_scorers:Words", "mine:test"))
        options = {"note": note, "score_deadline_s": 1.0 if place == "here" else 600.0}
        env = foreign_scorers.Words(**options) if place == "here" else fg.make("foreign/Words-v0", **options)
        print(score_checked(env, env.task_list("train")[:1], [response]))


def train(folder: str) -> None:
    """Train on a class that ends the process at its first response."""
    from fdiv_gym_math.addition import Addition

    class Exiting(Addition):
        def score(self, task: fg.Task, response: str) -> fg.Verdict:
            os._exit(0)

    fg.train(
        {
            "env": {"id": Exiting, "digits": 1},
            "model": {"embedded": {"layers": 1, "heads": 1, "head_dim": 32, "warm_start_steps": 2}},
            "trainer": {"steps": 1},
        },
        folder,
    )


if __name__ == "__main__":
    train(*sys.argv[2:]) if sys.argv[1] == "train" else score(*sys.argv[1:])
