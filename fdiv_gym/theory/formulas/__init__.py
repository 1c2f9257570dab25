"""Every objective once more, in numpy and from its source: what the registered objectives are compared with.

Nothing here imports an objective, a divergence or torch. To add a formula, write one function and one row of
``table.py``.
"""

from fdiv_gym.theory.formulas.data import Data, Preferences, Rollouts, central_differences
from fdiv_gym.theory.formulas.table import FORMULAS, Formula

__all__ = ["FORMULAS", "Data", "Formula", "Preferences", "Rollouts", "central_differences"]
