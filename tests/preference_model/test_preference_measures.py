"""What the trainer measures on held-out pairs, by hand."""

import math

import pytest
import torch

from fdiv_gym.types import PreferenceUnit
from fdiv_gym_preference_model import measures
from fdiv_gym_preference_model.measures import calibration_error, dimension_shares, pair_measures, triple_measures


def test_accuracy_loss_and_brier_by_hand_with_a_tie_wrong():
    scores = torch.tensor([[math.log(3.0)], [0.0], [-math.log(3.0)]])  # P = 3/4, 1/2, 1/4 at tau 1
    line = pair_measures(scores, torch.ones(3, 1), tau=1.0)
    assert line["heldout/accuracy"] == pytest.approx(1 / 3)
    assert line["heldout/loss"] == pytest.approx((math.log(4 / 3) + math.log(2) + math.log(4)) / 3)
    assert line["heldout/brier"] == pytest.approx((1 / 16 + 1 / 4 + 9 / 16) / 3)
    # Bins [.5, .55) with the tie and [.75, .8) with one right and one wrong: |0 - .5| / 3 + |1 - 1.5| / 3.
    assert line["heldout/ece"] == pytest.approx(1 / 3)
    assert pair_measures(scores * 0.1, torch.ones(3, 1), tau=0.1) == pytest.approx(line, rel=1e-5)


def test_a_calibrated_score_has_no_calibration_error():
    probability = torch.tensor([0.8] * 5, dtype=torch.float64)
    scores = torch.tensor([1.0, 1.0, 1.0, 1.0, -1.0], dtype=torch.float64)
    chosen = torch.where(scores > 0, probability, 1 - probability)
    assert calibration_error(scores, chosen) == pytest.approx(0.0, abs=1e-12)
    certain = torch.ones(2, dtype=torch.float64)
    assert calibration_error(torch.tensor([5.0, 5.0], dtype=torch.float64), certain) == 0.0  # in the last bin


def test_shares_of_the_dimensions_by_hand():
    scores, eigenvalues = torch.tensor([[1.0, -3.0], [0.0, 0.0]]), torch.tensor([[3.0, 1.0], [1.0, 1.0]])
    # |3 * 1| and |1 * -3| are equal; a pair without any score counts equal shares.
    assert dimension_shares(scores, eigenvalues) == {"dimension/0/share": 0.5, "dimension/1/share": 0.5}
    one = dimension_shares(torch.tensor([[1.0, -3.0]]), torch.tensor([[1.0, 1.0]]))
    assert one == {"dimension/0/share": 0.25, "dimension/1/share": 0.75}


def unit(better, worse, prompt="x"):
    return PreferenceUnit(prompt, better, worse)


CYCLE = [unit("p", "r"), unit("s", "p"), unit("r", "s")]
CHAIN = [unit("a", "b"), unit("b", "c"), unit("a", "c")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_triples_by_hand(order):
    cycle, chain = [CYCLE[i] for i in order], [CHAIN[i] for i in order]
    assert triple_measures(cycle, [1.0, 2.0, 3.0]) == {
        "triples/count": 1, "triples/cyclic_data": 1, "triples/cyclic": 1, "triples/right": 1
    }  # fmt: skip
    # The other way round it is a cycle, and nothing of it is right.
    assert triple_measures(cycle, [-1.0, -2.0, -3.0])["triples/cyclic"] == 1
    assert triple_measures(cycle, [-1.0, -2.0, -3.0])["triples/right"] == 0
    assert triple_measures(cycle, [1.0, -2.0, 3.0]) == {
        "triples/count": 1, "triples/cyclic_data": 1, "triples/cyclic": 0, "triples/right": 0
    }  # fmt: skip
    assert triple_measures(cycle, [1.0, 0.0, 3.0])["triples/cyclic"] == 0  # a tie
    assert triple_measures(chain, [1.0, 1.0, 1.0]) == {
        "triples/count": 1, "triples/cyclic_data": 0, "triples/cyclic": 0, "triples/right": 1
    }  # fmt: skip
    by_name = dict(zip(("ab", "bc", "ac"), (1.0, 1.0, -1.0), strict=True))
    cyclic = triple_measures(chain, [by_name[u.chosen + u.rejected] for u in chain])
    assert (cyclic["triples/cyclic"], cyclic["triples/right"]) == (1, 0)


def test_only_whole_triples_of_one_prompt_count():
    assert triple_measures(CYCLE[:2], [1.0, 1.0]) == {"triples/count": 0}
    apart = [CYCLE[0], CYCLE[1], unit("r", "s", prompt="y")]
    assert triple_measures(apart, [1.0] * 3) == {"triples/count": 0}
    contradicted = [*CYCLE, unit("s", "r")]
    assert triple_measures(contradicted, [1.0, 1.0, 1.0, -1.0]) == {"triples/count": 0}
    four = [unit(a, b) for i, a in enumerate("abcd") for b in "abcd"[i + 1 :]]
    assert triple_measures(four, [1.0] * 6)["triples/count"] == 4


def test_the_number_of_triples_is_bounded(monkeypatch):
    monkeypatch.setattr(measures, "TRIPLES", 3)
    four = [unit(a, b) for i, a in enumerate("abcd") for b in "abcd"[i + 1 :]]
    assert triple_measures(four, [1.0] * 6)["triples/count"] == 3
