"""Two responses of two tokens each: every value is worked out by hand in the comment beside it."""

import math

import pytest
import torch

import fdiv_gym as fg
from fdiv_gym.testing.steps import Rows, Step, evaluate

EXACT = {"name": "group", "eps": 0.0}  # advantages +1 and -1


@pytest.fixture
def step():
    """Log-ratios to the reference: 1/2, 1/2 and -1/2, 0; ratios to the sampling policy: 3/2, 1 and 1/2, 1."""
    logps = torch.tensor([[-1.0, -2.0], [-3.0, -1.0]], dtype=torch.float64)
    ref = torch.tensor([[-1.5, -2.5], [-2.5, -1.0]], dtype=torch.float64)
    old = logps - torch.tensor([[1.5, 1.0], [0.5, 1.0]], dtype=torch.float64).log()
    mask = torch.ones(2, 2, dtype=torch.bool)
    return Step(
        rewards=torch.tensor([1.0, 0.0], dtype=torch.float64),
        group=torch.tensor([0, 0]),
        rollouts=Rows(logps, ref, old, mask, torch.tensor([0, 1])),
        chosen=torch.tensor([True, False]),
        preferences=Rows(logps, ref, None, mask, torch.tensor([0, 0])),
    )


# beta = 1/2: v = 1/2 and -1/4; g(1/2) = 1/2 and f*(g(-1/4)) = -1/4 + 1/64 = -0.234375 for pearson.
FGRPO = (-0.5 - 0.234375) / 2 / 3  # 1/G = 1/2, 1/(1 + 1/beta) = 1/3
FDO = -0.5 - 0.234375
K3 = ((math.exp(-0.5) - 0.5) + (math.exp(0.5) - 1.5) / 2) / 2

HAND = [
    ("f-grpo", {"divergence": "pearson", "beta": 0.5, "advantage": EXACT}, FGRPO),
    # v gains log pi - log pi_old = log 3/2 and log 1/2; reverse_kl: -exp(-v) and v - 1.
    (
        "f-grpo",
        {"divergence": "reverse_kl", "beta": 0.5, "gamma": 1.0, "advantage": EXACT},
        (math.exp(-0.5) / 1.5 + (-0.25 + math.log(0.5) - 1)) / 6,
    ),
    ("fdo", {"divergence": "pearson", "beta": 0.5}, FDO),
    ("kldo", {"beta": 0.5}, -0.5 - 0.25),
    ("f-hal", {"divergence": "pearson", "beta": 0.5, "advantage": EXACT}, (FDO + FGRPO) / 2),
    # Row 1: -(1.2 + 1)/2; row 2: min(-0.5, -0.8) = -0.8, so (0.8 + 1)/2; mean -0.1.
    ("grpo", {"beta": 0.0, "advantage": EXACT}, -0.1),
    ("grpo", {"beta": 0.04, "advantage": EXACT}, -0.1 + 0.04 * K3),
    # Advantages +-1/2: (-(1.2 + 1)/2 + (0.8 + 1)/2) / 4 / 2.
    ("dr-grpo", {"aggregation": {"name": "constant-length", "length": 4}}, -0.025),
    # Clipped at 1.28: (-(1.28 + 1) + (0.8 + 1)) / 4 tokens.
    ("dapo", {"advantage": EXACT}, -0.12),
    # s = sqrt(3/2) = 1.22 and sqrt(1/2) = 0.71, clipped to 1.2 and 0.8.
    ("gspo", {"clip_low": 0.2, "clip_high": 0.2, "advantage": EXACT}, (-1.2 + 0.8) / 2),
    # -(1.5 * -1 + 1 * -2 - (0.5 * -3 + 1 * -1)) / 4.
    ("cispo", {"advantage": EXACT}, 0.25),
    # One prompt, so the density is 1 and the advantages are +-1/2: (-(1.2 + 1) + (0.8 + 1)) / 2 / 4 tokens.
    ("bnpo", {}, -0.05),
    # 4 sigmoid(rho - 1) at 1.5, 1 and 0.5, 1: (-4 s(1/2) + 4 s(-1/2)) / 4 = -(2 s(1/2) - 1).
    ("sapo", {"temperature_negative": 1.0, "advantage": EXACT}, -math.tanh(0.25)),
    # Log-ratios log 1.5, 0 and log 0.5, 0 clipped to 0.2, 0 and -0.2, 0; geometric means e^0.1 and e^-0.1.
    ("gmpo", {"clip_low": 0.2, "clip_high": 0.2, "advantage": EXACT}, -math.sinh(0.1)),
    # Advantages +-1/2: -(-3 - -4)/2 / 4 tokens.
    ("gpg", {}, -0.125),
    # Covariances with mean log-prob -7/4: 0.75, -0.25 and 1.25, -0.75. The third token has no gradient.
    ("clip-cov", {"advantage": EXACT}, (-2.5 + 1) / 4),
    ("kl-cov", {"advantage": EXACT}, (-2.5 + 1.5 + math.log(2)) / 4),
    # |pi - pi_old| is 0.12 on the first token, 0.05 on the third: inside; then the first is outside.
    ("dppo", {"advantage": EXACT}, 0.25),
    ("dppo", {"delta_high": 0.1, "advantage": EXACT}, -(-2 + 2.5) / 4),
    # Advantages +-1: -(-3 - -4)/2.
    ("rloo", {}, -0.5),
    # Ratios of the responses 3/2 and 1/2, clipped to 1.2 and 0.8; of the tokens: the sums of 2.2 and 1.8.
    ("rloo", {"ratio": "sequence"}, (-1.2 + 0.8) / 2),
    ("rloo", {"ratio": "token"}, (-2.2 + 1.8) / 2),
    ("reinforce", {"advantage": {"name": "batch", "eps": 0.0}}, -0.5),
    # Margin 0.75.
    ("dpo", {"beta": 0.5}, math.log(1 + math.exp(-0.75))),
    # h = (1 + 1/2)/2 tokens = 3/4, goal 1; without the division 3/2.
    ("ipo", {"tau": 0.5}, 1 / 16),
    ("ipo", {"tau": 0.5, "length_normalised": False}, 0.25),
    # Mean log-probs -1.5 and -2: 2 * 0.5 - 1 = 0.
    ("simpo", {"beta": 2.0, "gamma": 1.0}, math.log(2)),
    # z0 = (1 - 0.5)/2 = 1/4; both margins 0.5 * 0.75.
    ("kto", {"beta": 0.5}, 1 - 1 / (1 + math.exp(-0.375))),
    # delta = (0.5 - 0.25)/2 = 0.125; both margins 0.375.
    ("bco", {"beta": 0.5}, 2 * math.log(1 + math.exp(-0.375))),
    # Log-probs -3 and -4, margin 1/2; the likelihood of a token 3/2.
    ("cpo", {"beta": 0.5}, math.log(1 + math.exp(-0.5)) + 1.5),
    # Probabilities e^-1.5 and e^-2 of a mean token: odds ratio (e^2 - 1)/(e^1.5 - 1).
    ("orpo", {"lam": 0.5}, 1.5 + 0.5 * math.log(1 + (math.exp(1.5) - 1) / (math.exp(2) - 1))),
    # Margin 0.75 of 1.
    ("slic", {"beta": 0.5}, 0.25),
    # v = 1/2 and -1/4.
    ("apo-zero", {"beta": 0.5}, 1 / (1 + math.exp(0.5)) + 1 / (1 + math.exp(0.25))),
    ("apo-down", {"beta": 0.5}, 1 / (1 + math.exp(-0.5)) + 1 / (1 + math.exp(0.75))),
    # (3/4 softplus(-0.75) - 1/4 softplus(0.75))/(1/2).
    (
        "robust-dpo",
        {"beta": 0.5, "label_noise": 0.25},
        1.5 * math.log(1 + math.exp(-0.75)) - 0.5 * math.log(1 + math.exp(0.75)),
    ),
    (
        "nca",
        {"beta": 0.5},
        math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(0.5)) / 2 + math.log(1 + math.exp(-0.25)) / 2,
    ),
    # Targets +-1; log-ratios 1 and -1/2.
    ("sppo", {"beta": 0.5}, 0.25),
    ("sft", {}, 3 / 2),
]


@pytest.mark.parametrize(("name", "options", "expected"), HAND, ids=[f"{h[0]}-{i}" for i, h in enumerate(HAND)])
def test_value_by_hand(step, name, options, expected):
    assert float(evaluate(fg.get_objective(name, **options), step).value) == pytest.approx(expected, abs=1e-14)


def test_every_registered_objective_has_a_case_by_hand():
    first_party = {e.name for e in fg.list_entries("objective") if e.plugin.endswith((":core", ":baselines"))}
    assert first_party == {name for name, _, _ in HAND}


def test_kldo_takes_the_logarithm_of_the_mean(step):
    # Rejected v = 0 and log 3: log((1 + 3)/2) = log 2, gradient weights 1/4 and 3/4.
    logps = torch.tensor([[0.0], [0.0], [math.log(3.0)]], dtype=torch.float64)
    mask = torch.ones(3, 1, dtype=torch.bool)
    rows = Rows(logps, torch.zeros_like(logps), None, mask, torch.arange(3))
    three = Step(step.rewards, step.group, step.rollouts, torch.tensor([True, False, False]), rows)
    outcome = evaluate(fg.get_objective("kldo", beta=1.0), three, units=1)
    assert float(outcome.value) == pytest.approx(math.log(2), abs=1e-15)
    torch.testing.assert_close(
        outcome.gradients["preferences"].squeeze(-1), torch.tensor([-1.0, 0.25, 0.75], dtype=torch.float64)
    )


def test_bco_with_one_side_only_shifts_by_its_mean(step):
    # v = 1/2 is its own mean: the margin is 0.
    one = step.with_preference_rows(torch.tensor([0]))
    assert float(evaluate(fg.get_objective("bco", beta=0.5), one).value) == pytest.approx(math.log(2), abs=1e-15)


def test_metrics_are_means_over_the_step(step):
    outcome = evaluate(fg.get_objective("f-hal", divergence="pearson", advantage=EXACT), step, units=1)
    assert {name: pytest.approx(float(value)) for name, value in outcome.metrics.items()} == {
        "rollouts/log_ratio_positive": 1.0,
        "rollouts/log_ratio_negative": -0.5,
        "rollouts/beyond_guard": 0.0,
        "preferences/log_ratio_chosen": 1.0,
        "preferences/log_ratio_rejected": -0.5,
        "preferences/beyond_guard": 0.0,
    }
    clipped = evaluate(fg.get_objective("grpo", advantage=EXACT), step).metrics
    assert float(clipped["rollouts/clipped"]) == pytest.approx(0.5)
    pair = evaluate(fg.get_objective("dpo", beta=0.5), step).metrics
    assert float(pair["preferences/margin"]) == pytest.approx(0.75)
    assert float(pair["preferences/accuracy"]) == 1.0
