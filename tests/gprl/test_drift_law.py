"""The law of the drift monitor: its values by hand, hysteresis, saturation, exact resumption."""

import dataclasses
import json
import math

import pytest
import torch
from gprl_groups import groups_of, random_groups

import fdiv_gym as fg
from fdiv_gym_gprl.law import Law, LawOptions
from fdiv_gym_gprl.readings import Reading, read, watched


def law(**options):
    """One step is the start, and every step counts fully at once, unless the options say otherwise."""
    return Law(LawOptions(**({"warmup": 1, "smoothing": 1.0, "relaxation": 1.0, "threshold": 0.05} | options)))


def step(*variances, eigenvalues=None, levels=None):
    k = len(variances)
    each = zip(variances, eigenvalues or [1.0] * k, levels or [None] * k, strict=True)
    return {f"gprl/{i}": Reading(*one) for i, one in enumerate(each)}


def test_shares_drift_and_multipliers_by_hand():
    one = law(tightening=3.0)
    assert one.observe(step(4.0, 0.01, 100.0)) == ""
    assert list(one.shares().values()) == pytest.approx([1 / 3] * 3, abs=1e-15)
    assert one.observe(step(8.0, 0.01, 100.0)) == "raised"
    assert list(one.shares().values()) == pytest.approx([0.5, 0.25, 0.25], abs=1e-15)
    drift = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)
    assert one.drift == pytest.approx(drift, abs=1e-15)
    # (2/3, 4/3, 4/3) times 0.9, so that they add up to 3
    assert list(one.multipliers().values()) == pytest.approx([0.6, 1.2, 1.2], abs=1e-15)
    assert one.kl_scale == pytest.approx(1 + 3 * (drift - 0.05), abs=1e-15)


def test_eigenvalues_are_the_shares_at_the_start():
    one = law()
    one.observe(step(4.0, 9.0, eigenvalues=[1.5, 0.5]))
    assert one.start_shares() == {"gprl/0": 0.75, "gprl/1": 0.25}
    one.observe(step(4.0, 9.0 * 3, eigenvalues=[1.5, 0.5]))
    assert one.shares() == {"gprl/0": 0.5, "gprl/1": 0.5}
    # ratios (1.5, 0.5): 1.5 * 1.5 + 0.5 * 0.5 = 2.5, scaled by 0.8 to the sum 2
    assert list(one.multipliers().values()) == pytest.approx([1.2, 0.4], abs=1e-15)


def test_the_drift_is_at_most_minus_log_of_the_smallest_share():
    one = law()
    one.observe(step(1.0, 1.0, 1.0))
    one.observe(step(1e30, 1.0, 1.0))
    assert one.drift == pytest.approx(math.log(3), rel=1e-12)
    with pytest.raises(fg.ConfigError, match=r"at most 1\.099 nats: set threshold below it \(it is 1\.2\)"):
        law(threshold=1.2).observe(step(1.0, 1.0, 1.0))


def test_multipliers_are_clamped_and_power_zero_leaves_them():
    one = law(lowest=0.5, highest=1.1)
    one.observe(step(1.0, 1.0, 1.0))
    one.observe(step(1e6, 1.0, 1e-300))
    # (0.5, 1.1, 1.1) times 3/2.7, held at 1.1
    assert list(one.multipliers().values()) == pytest.approx([0.5 / 0.9, 1.1, 1.1], abs=1e-15)
    low = law(lowest=0.3)
    low.observe(step(1.0, 1.0, 1.0))
    low.observe(step(1e6, 1.0, 1.0))
    assert low.multipliers()["gprl/0"] == pytest.approx(0.3, abs=1e-15)
    still = law(power=0.0, tightening=0.0)
    still.observe(step(1.0, 1.0))
    still.observe(step(100.0, 1.0))
    assert (list(still.multipliers().values()), still.kl_scale, still.acting) == ([1.0, 1.0], 1.0, True)


def test_nothing_moves_below_the_threshold():
    one = law(threshold=0.06)
    one.observe(step(1.0, 1.0, 1.0))
    assert one.observe(step(2.0, 1.0, 1.0)) == ""  # 0.0589 nats
    assert (one.multipliers(), one.kl_scale) == (dict.fromkeys(one.dimensions, 1.0), 1.0)


def test_hysteresis():
    one = law(threshold=0.05, release=0.5)
    seen = [one.observe(step(v, 1.0, 1.0)) for v in (1.0, 1.4, 2.0, 1.8, 1.6, 1.4, 1.8, 2.0)]
    # Drift: 1.4 .013 < release .025 < 1.6 .027 < 1.8 .042 < threshold .05 < 2.0 .059
    assert seen == ["", "", "raised", "", "", "released", "", "raised"]


def test_relaxation_is_exponential():
    one = law(relaxation=0.25, tightening=4.0)
    one.observe(step(1.0, 1.0, 1.0))
    one.observe(step(2.0, 1.0, 1.0))
    assert one.multipliers()["gprl/0"] == pytest.approx(1 - 0.25 * 0.4, abs=1e-15)
    before, scale = one.multipliers()["gprl/0"], one.kl_scale
    for _ in range(3):
        one.observe(step(1.0, 1.0, 1.0))
    assert one.multipliers()["gprl/0"] == pytest.approx(1 + (before - 1) * 0.75**3, abs=1e-15)
    assert one.kl_scale == pytest.approx(1 + (scale - 1) * 0.75**3, abs=1e-15)


#: Dimension 0 is exploited: its variance doubles while some responses exploit it, and vanishes when all do.
EXPLOIT = [(1.0, 0.0), (2.0, 0.5), (2.5, 1.5), (1.0, 2.5), (0.05, 3.0), (0.01, 3.0)]


@pytest.mark.parametrize("anchored", [True, False])
def test_a_saturated_exploit_is_not_fed(anchored):
    one = law()
    for variance, level in EXPLOIT:
        one.observe(step(variance, 1.0, 1.0, levels=[level, 0.0, 0.0] if anchored else None))
    exploited, *others = one.multipliers().values()
    if anchored:
        assert one.shares()["gprl/0"] == pytest.approx(2.5 / 4.5, abs=1e-15)
        assert exploited < 0.6 < 1 < min(others)
    else:  # the fault that the levels are there for
        assert exploited > 1 > max(others)


def test_a_level_that_falls_back_is_neglect_again():
    one = law()
    for variance, level in (*EXPLOIT, (0.1, 0.2)):
        one.observe(step(variance, 1.0, 1.0, levels=[level, 0.0, 0.0]))
    assert one.shares()["gprl/0"] == pytest.approx(0.1 / 2.1, abs=1e-15)
    assert one.multipliers()["gprl/0"] > 1


def test_a_risen_level_is_never_weighed_above_one():
    one = law()
    one.observe(step(1.0, 1.0, 1.0, levels=[0.0, 0.0, 0.0]))
    one.observe(step(1.0, 5.0, 1.0, levels=[1.1, 0.0, 0.0]))
    # Ratios (7/3, 7/15, 7/3), held at (1, 7/15, 2) and scaled to the sum 3
    scale = 3 / (1 + 7 / 15 + 2)
    assert list(one.multipliers().values()) == pytest.approx([scale, scale * 7 / 15, scale * 2], abs=1e-15)


def test_the_scale_of_a_dimension_does_not_matter():
    plain, scaled = law(), law()
    for v in (1.0, 1.7, 3.0, 0.5):
        plain.observe(step(v, 1.0, 2.0))
        scaled.observe(step(v, 1024.0, 2.0))
    assert plain.multipliers() == scaled.multipliers()
    assert plain.drift == scaled.drift > 0


def test_the_start_is_the_mean_of_the_warm_up():
    one = law(warmup=4)
    for v in (1.0, 2.0, 3.0, 6.0):
        assert one.shares() == {}
        one.observe(step(v, 1.0))
    assert one.dimensions["gprl/0"].start_variance == pytest.approx(3.0, abs=1e-15)
    assert one.drift == 0.0


def test_a_dimension_without_variance_at_the_start_is_left_alone():
    one = law()
    one.observe(step(1.0, 0.0, 1.0))
    one.observe(step(9.0, 5.0, 1.0))
    assert set(one.shares()) == {"gprl/0", "gprl/2"}
    assert one.multipliers()["gprl/1"] == 1.0


def test_one_dimension_never_drifts():
    one = law()
    one.observe(step(1.0))
    one.observe(step(1e9))
    assert (one.drift, one.acting, one.multipliers()) == (0.0, False, {"gprl/0": 1.0})


def test_other_dimensions_are_refused():
    one = law()
    one.observe(step(1.0, 1.0))
    with pytest.raises(fg.ConfigError, match="name what to watch in components"):
        one.observe(step(1.0, 1.0, 1.0))


@pytest.mark.parametrize("cut", [3, 12, 25])
def test_resumption_is_exact(cut):
    values = torch.rand(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(4).exp()
    levels = torch.randn(40, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).cumsum(0)
    steps = [step(*v, levels=w) for v, w in zip(values.tolist(), levels.tolist(), strict=True)]
    options = {"warmup": 5, "smoothing": 0.3, "relaxation": 0.3}
    whole, first, second = law(**options), law(**options), law(**options)
    for one in steps:
        whole.observe(one)
    for one in steps[:cut]:
        first.observe(one)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for one in steps[cut:]:
        second.observe(one)
    assert second.state_dict() == whole.state_dict()
    assert whole.multipliers() != dict.fromkeys(whole.dimensions, 1.0)


def test_readings_by_hand():
    groups = fg.GroupBatch(
        torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, math.nan]).double(),
        torch.tensor([0, 0, 1, 1, 1, 1]), torch.zeros(6).double(), torch.ones(6).long(),
        {
            "gprl/0": torch.tensor([1.0, -1.0, 3.0, 0.0, math.nan, 99.0]).double(),
            "lambda/0": torch.tensor([2.0, 2.0, 1.0, 1.0, math.nan, 1.0]).double(),
            "anchored/0": torch.tensor([0.125, 0.25, 0.5, 0.125, math.nan, 9.0]).double(),
            "form": torch.tensor([1.0, 0.0, 0.5, 0.5, math.inf, math.nan]).double(),
        },
    )  # fmt: skip
    # Variances 1 and 2.25 of the two prompts.
    assert read(groups, "gprl/0") == Reading(1.625, 1.5, 0.25)
    assert read(groups, "form") == Reading(0.125, 1.0, 0.5)
    assert read(groups, "other") is None


@pytest.mark.parametrize("value", [0.1, 0.7, 1e17 / 3])
def test_a_constant_component_has_no_variance(value):
    # The mean of three 0.1 is not 0.1, and a variance of 1e-34 at the start would be the unit of all later ones.
    groups = fg.GroupBatch.of_equal_size(torch.zeros(7 * 3), 3)
    constant = torch.full((21,), value, dtype=torch.float64)
    groups = dataclasses.replace(groups, components={"form": constant})
    assert read(groups, "form").variance == 0.0
    groups = dataclasses.replace(groups, components={"form": constant * 1e-80 * torch.arange(21)})
    assert read(groups, "form").variance == 0.0


def test_values_without_a_finite_share_are_refused():
    groups = fg.GroupBatch.of_equal_size(torch.zeros(4), 4)
    large = torch.tensor([1e60, -1e60, 0, 0], dtype=torch.float64)
    with pytest.raises(fg.ConfigError, match="'form' has the variance 5e\\+119 within prompts, more than 1e\\+100"):
        read(dataclasses.replace(groups, components={"form": large}), "form")
    parts = {"gprl/0": large / 1e60, "lambda/0": torch.tensor([1.0, -2.0, 1.0, 1.0])}
    with pytest.raises(fg.ConfigError, match="'lambda/0' is -2, expected >= 0"):
        read(dataclasses.replace(groups, components=parts), "gprl/0")


def test_groups_of_one_have_no_reading():
    embeddings, eigenvalues = random_groups(sizes=(1, 1))
    assert read(groups_of(embeddings, eigenvalues), "gprl/0") is None


def test_what_is_watched():
    assert watched(["lambda/0", "gprl/10", "gprl/2", "form"], []) == ["gprl/2", "gprl/10"]
    assert watched(["result", "form"], []) == ["form", "result"]
    assert watched(["result", "form"], ["form"]) == ["form"]
