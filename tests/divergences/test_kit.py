"""The divergence kit catches planted faults, each with a message that names the fault."""

from __future__ import annotations

import json
import math

import pytest
import torch

from fdiv_gym.divergences.base import Divergence, Link
from fdiv_gym.divergences.paper import KL, Hellinger, JensenShannon, Pearson
from fdiv_gym.testing import Report, check_divergence


class Offset(KL):
    def generator(self, t):
        return super().generator(t) + 0.1


class Concave(KL):
    def generator(self, t):
        return super().generator(t) - 0.4 * (t - 1) ** 2


class WrongSlope(Hellinger):
    slope_at_infinity = 2.0


class NotInfinite(KL):
    slope_at_infinity = 5.0


class LeakyDomain(Hellinger):
    def conjugate(self, s):
        return s / (1 - s)


class WrongConjugate(KL):
    def conjugate(self, s):
        return torch.exp(s)


class WrongNegative(KL):
    def links(self):
        return {"fgan": Link(lambda v: v, torch.exp, lambda r: 1 + torch.log(r), exponent=1)}


class SwappedBranches(JensenShannon):
    def links(self):
        link = super().links()["fgan"]
        return {"fgan": Link(link.negative, link.positive, link.critic)}


class Falling(KL):
    def links(self):
        return {
            "fgan": Link(lambda v: -v, lambda v: torch.exp(-v - 1), lambda r: -1 - torch.log(r), 1.0, canonical=False)
        }


class Undeclared(Pearson):
    """The paper's Pearson without declaring that its negative branch decreases below v = -2."""

    def links(self):
        return {"fgan": Link(lambda v: v, self.conjugate, lambda r: 2 * (r - 1))}


class DeadGradient(KL):
    def links(self):
        def negative(v):
            return (torch.exp(v - 1)).detach() + 0 * v

        return {"fgan": Link(lambda v: v, negative, lambda r: 1 + torch.log(r), exponent=1)}


class NoGuard(KL):
    def links(self):
        return {"fgan": Link(lambda v: v, lambda v: torch.exp(v - 1), lambda r: 1 + torch.log(r))}


class MaskedGradient(JensenShannon):
    """Finite values, but 0 * inf in the gradient of the branch that torch.where does not take."""

    def links(self):
        link = super().links()["fgan"]

        def negative(v):
            return torch.where(v < 40, torch.log1p(torch.exp(v)), v) - math.log(2)

        return {"fgan": Link(link.positive, negative, link.critic)}


class HalfPrecision(KL):
    def positive(self, v):
        return super().positive(v).to(v.dtype)


class Cancelling(Hellinger):
    """A small difference of large numbers: fine in float64, four digits in fp32."""

    def links(self):
        link = super().links()["fgan"]
        return {"fgan": Link(lambda v: (1e3 - torch.exp(-v)) - 999, link.negative, link.critic, exponent=1)}


class ClaimsCalibrated(KL):
    @property
    def calibrated(self):
        return True


class MisnamedLink(KL):
    default_link = "calibrated"

    def links(self):
        return {"calibrated": super().links()["fgan"]}


class NotCanonical(KL):
    def links(self):
        link = super().links()["fgan"]
        return {"fgan": Link(link.positive, link.negative, link.critic, exponent=1, canonical=False)}


class WrongCritic(KL):
    def links(self):
        link = super().links()["fgan"]
        return {"fgan": Link(link.positive, link.negative, torch.log, exponent=1)}


class Noisy(Hellinger):
    def positive(self, v):
        return super().positive(v) + 1e-9 * torch.rand(())


class InPlace(Hellinger):
    def negative(self, v):
        result = super().negative(v)
        if not v.requires_grad:
            v += 1
        return result


class BatchDependent(Hellinger):
    def positive(self, v):
        return super().positive(v) + 0.01 * v.numel()


class Raising(KL):
    def conjugate(self, s):
        raise RuntimeError("not written yet")


PLANTED = [
    (Offset, "generator-at-one", "f(1) must be 0, is 0.1"),
    (Concave, "convex", "f must be convex: its slope falls from"),
    (WrongSlope, "slope-at-infinity", "declared 2, but f(t)/t tends to 1"),
    (NotInfinite, "slope-at-infinity", "declared 5, but f(t)/t tends to inf"),
    (LeakyDomain, "slope-at-infinity", "f*(s) must be infinite for s above f'(inf) = 1, is -11 at s = 1.1"),
    (WrongConjugate, "legendre", "f*(s) must be sup over t >= 0 of s t - f(t)"),
    (WrongNegative, "conjugate", "negative(v) must be conjugate(link(v))"),
    (WrongNegative, "fenchel-young", "f(t) + f*(s) must be s t at t = (f*)'(s)"),
    (SwappedBranches, "variational", "with the optimal critic the bound must be D_f ="),
    (Falling, "monotone", "the positive branch must not fall, but it falls at v ="),
    (Falling, "monotone", "the positive branch, a link, must rise strictly"),
    (Undeclared, "monotone", "the negative branch must not fall, but it falls at v = -100"),
    (DeadGradient, "gradient", "autograd of negative must agree with finite differences: 0 against"),
    (
        NoGuard,
        "finite",
        "the value of the negative branch is not finite at v = 89.75 (torch.float32); set",
    ),
    (MaskedGradient, "finite", "the gradient of the negative branch is not finite at v = 89"),
    (
        HalfPrecision,
        "dtype",
        "the positive branch of torch.bfloat16 [2, 3] must be torch.float32 [2, 3], is torch.bfloat16 [2, 3]",
    ),
    (Cancelling, "accuracy", "the positive branch of torch.float32 must agree with float64"),
    (
        ClaimsCalibrated,
        "calibrated",
        "the link is declared calibrated, but at v = 0 the branches have slopes 1 and 0.3679",
    ),
    (MisnamedLink, "calibrated", "the link named 'calibrated' has slopes 1 and 0.3679 at v = 0"),
    (
        NotCanonical,
        "canonical",
        "the link is declared not canonical, but the critic at ratios 1e4, 1e8, 1e16 is 10.21, 19.42",
    ),
    (WrongCritic, "critic", "at critic(rho) the slopes of the branches must have ratio rho"),
    (WrongCritic, "variational", "with the optimal critic the bound must be D_f ="),
    (Noisy, "deterministic", "the positive branch gives two values for one input"),
    (InPlace, "deterministic", "the negative branch changes its input"),
    (BatchDependent, "deterministic", "the positive branch must be elementwise"),
    (Raising, "legendre", "raised RuntimeError: not written yet"),
]


@pytest.mark.parametrize(("broken", "check", "message"), PLANTED)
def test_a_planted_fault_is_caught(broken: type[Divergence], check: str, message: str):
    report = check_divergence(broken())
    messages = [failure.message for failure in report.failures if failure.name == check]
    assert any(found.startswith(message) for found in messages), report.text()


def test_the_report_names_class_and_link():
    report = check_divergence(Offset(link="fgan"))
    assert report.subject == "divergence 'Offset' (link fgan)"
    assert report.text().splitlines()[0].endswith("checks failed")


def test_without_a_chosen_link_each_is_checked():
    report = check_divergence(Offset())
    assert [part.subject for part in report.parts] == [
        f"divergence 'Offset' (link {link})" for link in ("fgan", "calibrated", "universal")
    ]
    assert report.subject == "divergence 'Offset'"
    assert len(report.checks) == sum(len(part.checks) for part in report.parts)
    assert [line for line in report.text().splitlines() if not line.startswith(" ")] == [
        part.text().splitlines()[0] for part in report.parts
    ]
    assert len(check_divergence(Offset(link="fgan")).parts) == 1


class TestReport:
    def test_collects_every_failure(self):
        report = Report("thing")
        report.check("first", True, "not shown")
        report.check("second", False, "was 2, must be 3")
        with report.section("third"):
            raise ValueError("boom")
        with report.section("fourth"):
            pass
        assert not report.ok
        assert [check.name for check in report.failures] == ["second", "third"]
        assert report.failed("second")
        assert not report.failed("first")
        assert report.text() == (
            "thing: 2 of 4 checks failed\n  second: was 2, must be 3\n  third: raised ValueError: boom"
        )

    def test_as_data(self):
        report = Report("thing")
        report.fail("size", "was 2")
        expected = {"subject": "thing", "ok": False, "checks": [{"name": "size", "passed": False, "message": "was 2"}]}
        assert report.to_dict() == expected
        assert json.loads(report.to_json()) == expected

    def test_nothing_checked_is_not_ok(self):
        assert not Report("thing").ok
        assert str(Report("thing")) == "thing: nothing was checked"

    def test_one_faulty_part_is_enough(self):
        good, bad = Report("good"), Report("bad")
        good.check("size", True)
        bad.fail("size", "was 2")
        whole = Report.of_parts("both", [good, bad])
        assert not whole.ok
        assert whole.parts == [good, bad]
        assert whole.text() == "good: 1 checks passed\nbad: 1 of 1 checks failed\n  size: was 2"
        assert Report.of_parts("both", [good, good]).ok
        assert not Report.of_parts("neither", []).ok

    def test_passed(self):
        report = Report("thing")
        assert report.check("a", True)
        assert report.ok
        assert report.text() == "thing: 1 checks passed"
