"""A verifier with its worker processes, for the tests of one module."""

import pytest

from fdiv_gym_mathverify import MathVerifier


@pytest.fixture(scope="module")
def verifier():
    with MathVerifier() as running:
        yield running
