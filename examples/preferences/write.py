"""Writes the preference files of the examples; the same files on every machine.

Run from the repository: python examples/preferences/write.py
"""

import json
from pathlib import Path

import numpy as np

import fdiv_gym as fg

FOLDER = Path(__file__).parent
FILES = {"refusal.jsonl": "safety/Refusal-v0", "flattery.jsonl": "safety/Flattery-v0"}
ZEAL = 2500
"""Drawn pairs of safety/Zeal-v0; three in ten of them are ties, which are left out."""
ROUNDS = 200
LETTERS = 12
OWN = 0.8
"""Probability that a letter of an item is that of its kind; the other two kinds are equally likely."""


def rock_paper_scissors(rng: np.random.Generator) -> list[dict[str, str]]:
    """Rounds of three items, one of each kind: paper beats rock, scissors beat paper, rock beats scissors.

    An item shows its kind by its letters, r, p or s, with a fixed noise. All three pairs of a round are in the data, so
    that no scalar score has more than two of them right.
    """
    pairs = []
    for number in range(ROUNDS):
        items = []
        for kind in "rps":
            others = "rps".replace(kind, "")
            letters = [kind if rng.random() < OWN else others[int(rng.integers(2))] for _ in range(LETTERS)]
            items.append("".join(letters))
        for better, worse in ((1, 0), (2, 1), (0, 2)):
            pairs.append({"prompt": f"round {number}: ", "chosen": items[better], "rejected": items[worse]})
    return pairs


def write(folder: Path) -> None:
    """Write one file for each environment with preference pairs, and that of rock, paper, scissors."""
    sources = {name: fg.make(env_id).preference_pairs(800, np.random.default_rng(0)) for name, env_id in FILES.items()}
    sources["zeal.jsonl"] = fg.make("safety/Zeal-v0").preference_pairs(ZEAL, np.random.default_rng(0))
    sources["rock_paper_scissors.jsonl"] = rock_paper_scissors(np.random.default_rng(0))
    for name, pairs in sources.items():
        lines = list(dict.fromkeys(json.dumps(pair) for pair in pairs))
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{name}: {len(lines)} pairs")


if __name__ == "__main__":
    write(FOLDER)
