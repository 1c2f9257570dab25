"""The kit for environments accepts the games."""

import pytest

import fdiv_gym as fg
from fdiv_gym.testing import check_environment


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("games/Mastermind-v0", {"length": 3, "symbols": 4}),
        ("games/Mastermind-v0", {"length": 2, "symbols": 6, "wording": "sentence", "partial_credit": True}),
        ("games/Nim-v0", {"train_tasks": 50, "heldout_tasks": 20}),
        ("games/Nim-v0", {"train_tasks": 50, "heldout_tasks": 20, "misere": True, "opponent": "random", "heaps": 2}),
        ("games/Nim-v0", {"train_tasks": 50, "heldout_tasks": 20, "wording": "sentence", "illegal": "lost"}),
        ("math/Hints-v0", {"train_tasks": 50, "heldout_tasks": 20}),
        ("math/Hints-v0", {"train_tasks": 50, "heldout_tasks": 20, "level": 4, "curriculum": True, "answer": "boxed"}),
    ],
)
def test_the_kit_accepts_it(name, options):
    report = check_environment(fg.make(name, **options))
    assert report.ok, str(report)
