"""kl_scale multiplies the coefficient of the k3 term or of the penalty, and nothing else."""

import pytest

import fdiv_gym as fg
from fdiv_gym.testing import check_objective
from fdiv_gym.testing.steps import evaluate, make_step

WITH = [
    ("grpo", "beta", {}),
    ("grpo", "beta", {"unbiased_k3": True}),
    ("dapo", "beta", {}),
    ("gspo", "beta", {}),
    ("rloo", "beta", {}),
    ("kl-cov", "beta", {"share": 0.3}),
    ("grpo", "penalty_coefficient", {"beta": 0.0, "penalty": "pearson"}),
    ("f-grpo", "penalty_coefficient", {"penalty": "pearson", "gamma": 0.5}),
    ("f-hal", "penalty_coefficient", {"penalty": "kl"}),
    ("cispo", "penalty_coefficient", {"penalty": "jensen_shannon", "penalty_truncation": 0.1}),
]


@pytest.mark.parametrize(("name", "coefficient", "options"), WITH)
def test_a_scale_of_two_is_the_double_coefficient(name, coefficient, options):
    scaled = fg.get_objective(name, **options, **{coefficient: 0.3})
    scaled.kl_scale = 2.0
    doubled = fg.get_objective(name, **options, **{coefficient: 0.6})
    single = fg.get_objective(name, **options, **{coefficient: 0.3})
    for seed in range(2):
        found, expected, before = (evaluate(o, make_step(seed=seed)) for o in (scaled, doubled, single))
        assert float(found.loss) == pytest.approx(float(expected.loss), rel=1e-12)
        assert float(found.value) == pytest.approx(float(expected.value), rel=1e-12)
        assert found.distance(expected) <= 1e-12 * expected.norm
        assert found.distance(before) > 1e-3 * before.norm
        assert {k: float(v) for k, v in found.metrics.items()} == {k: float(v) for k, v in before.metrics.items()}


def test_controls_reach_the_objective():
    objective = fg.get_objective("grpo", advantage="gdpo")
    controls = fg.Controls(objective)
    assert (controls.kl_scale, controls.has_penalty) == (1.0, True)
    controls.kl_scale = 3
    assert objective.kl_scale == 3.0
    controls.advantage.multipliers = {"a": 0.5}
    assert objective.advantage.multiplier("a") == 0.5
    assert fg.Controls(fg.get_objective("dpo")).advantage is None


@pytest.mark.parametrize("name", ["dpo", "fdo", "rloo", "dapo", "f-grpo"])
def test_an_objective_without_such_a_term_refuses(name):
    controls = fg.Controls(fg.get_objective(name))
    assert not controls.has_penalty
    with pytest.raises(
        fg.ConfigError, match=f"kl_scale: objective '{name}'.* has no k3 term and no divergence penalty"
    ):
        controls.kl_scale = 2.0


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), True, None, "2"])
def test_a_scale_that_is_no_factor_is_refused(value):
    controls = fg.Controls(fg.get_objective("grpo"))
    with pytest.raises(fg.ConfigError, match="kl_scale is a finite number of at least 0, got"):
        controls.kl_scale = value
    assert controls.kl_scale == 1.0


def assert_found(report, check, message):
    assert not report.ok
    assert check in report.text()
    assert message in report.text()


def test_the_kit_finds_a_scale_without_effect_and_one_that_is_not_declared():
    grpo = type(fg.get_objective("grpo"))

    class Deaf(grpo):
        """Claims a term that kl_scale multiplies."""

        def __init__(self, **options):
            super().__init__(**options)
            self.has_penalty = True

    assert_found(check_objective(Deaf(beta=0.0)), "kl-scale", "has_penalty is True, but kl_scale changes no gradient")

    class Silent(grpo):
        """Declares none."""

        def __init__(self, **options):
            super().__init__(**options)
            self.has_penalty = False

    assert_found(check_objective(Silent()), "kl-scale", "has_penalty is False, but kl_scale changes the gradient")

    class Squares(grpo):
        """Uses the square of the scale."""

        def loss(self, stream, batch):
            before = self.kl_scale
            self.kl_scale = before**2
            try:
                return super().loss(stream, batch)
            finally:
                self.kl_scale = before

    assert_found(check_objective(Squares()), "kl-scale", "rollouts: the gradient is not linear in kl_scale")
