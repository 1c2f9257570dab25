"""Risk: the exact comparison of surds differs from that of the workers."""

import pytest

from fdiv_gym_mathverify import worker
from fdiv_gym_mathverify.surds import same_surd

TEXTS = [
    r"7\sqrt{10}", r"\sqrt{490}", r"\sqrt{10} \cdot 7", r"-7\sqrt{10}", r"\frac{7}{2}\sqrt{40}", r"\sqrt{10}/2",
    r"\sqrt3",
    r"2\sqrt{4}", r"\frac{6\pi}{3}", r"2\pi", r"\frac{6}{3}\pi", r"-2\pi", r"\pi/2", r"\frac{\pi}{2}", r"4 \cdot \pi/8",
]  # fmt: skip


@pytest.mark.parametrize("reference", TEXTS)
def test_equals_the_workers_verdict(reference):
    for answer in TEXTS:
        found = same_surd(reference, answer)
        if found is not None:
            assert float(found) == worker.judge([(reference, answer)])[1], answer
    assert same_surd(reference, reference) is True


@pytest.mark.parametrize(
    "text",
    [
        r"\sqrt{0}",
        r"\frac{7}{0}\sqrt{2}",
        r"\sqrt{x}",
        r"2+\sqrt{3}",
        r"\sqrt[3]{8}",
        r"\pi^2",
        r"0\pi",
        r"\sqrt{2}\sqrt{3}",
    ],
)
def test_anything_else_is_left_to_the_worker(text):
    assert same_surd(text, text) is None
