"""Verifiers and judges: their contracts, the judges' cache, answer extraction and exact arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fdiv_gym._lazy import lazy

if TYPE_CHECKING:
    from fdiv_gym.rewards.boxes import without_quoted_boxes as without_quoted_boxes
    from fdiv_gym.rewards.cache import held_verdicts as held_verdicts
    from fdiv_gym.rewards.exact import Evaluated as Evaluated
    from fdiv_gym.rewards.exact import NotExactError as NotExactError
    from fdiv_gym.rewards.exact import evaluate as evaluate
    from fdiv_gym.rewards.exact import rational as rational
    from fdiv_gym.rewards.exact import squeeze as squeeze
    from fdiv_gym.rewards.extraction import AnswerFormat as AnswerFormat
    from fdiv_gym.rewards.extraction import Extracted as Extracted
    from fdiv_gym.rewards.extraction import extract as extract
    from fdiv_gym.rewards.extraction import in_form as in_form
    from fdiv_gym.rewards.extraction import reference_answer as reference_answer
    from fdiv_gym.rewards.judge import CachedJudge as CachedJudge
    from fdiv_gym.rewards.judge import Judge as Judge
    from fdiv_gym.rewards.judge import JudgeUsage as JudgeUsage
    from fdiv_gym.rewards.judge import get_judge as get_judge
    from fdiv_gym.rewards.judge import run_async as run_async
    from fdiv_gym.rewards.latex import normalise as normalise
    from fdiv_gym.rewards.latex import plain as plain
    from fdiv_gym.rewards.latex import squeezed as squeezed
    from fdiv_gym.rewards.verifier import Fixture as Fixture
    from fdiv_gym.rewards.verifier import FixtureKind as FixtureKind
    from fdiv_gym.rewards.verifier import Verifier as Verifier
    from fdiv_gym.rewards.verifier import check_pairs as check_pairs
    from fdiv_gym.rewards.verifier import get_verifier as get_verifier

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "cache": ["held_verdicts"],
        "verifier": ["Fixture", "FixtureKind", "Verifier", "check_pairs", "get_verifier"],
        "judge": ["CachedJudge", "Judge", "JudgeUsage", "get_judge", "run_async"],
        "boxes": ["without_quoted_boxes"],
        "extraction": ["Extracted", "AnswerFormat", "extract", "in_form", "reference_answer"],
        "latex": ["normalise", "plain", "squeezed"],
        "exact": ["Evaluated", "NotExactError", "evaluate", "rational", "squeeze"],
    },
)
