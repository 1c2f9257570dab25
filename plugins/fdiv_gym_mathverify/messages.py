"""Messages between the verifier and its worker processes."""

from __future__ import annotations

SERVER_MARK = "FDIV_GYM_MATH_SERVER"
"""Set in the environment of the process that workers are forked from: it warms up, and it ends when its parent does."""

APPROXIMATELY = "\\approx "
"""Before an answer: it must be within one part in a hundred of the reference."""

FAMILY = "\\forall "
"""Before an answer: it and the reference are families over the whole numbers."""

Result = tuple[str, float | None, str]
"""Status (as in ``fdiv_gym.Status``), score, detail."""
