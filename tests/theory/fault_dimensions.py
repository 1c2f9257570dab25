"""Faults in preferences of several dimensions: scores, advantages and the monitor."""

from faults import Fault

SCORES, ADVANTAGE = "fdiv_gym_gprl.scores:", "fdiv_gym_gprl.advantage:GPRL."
LAW, MONITOR = "fdiv_gym_gprl.law:Law.", "fdiv_gym_gprl.drift:DriftMonitor."
DIMENSIONS = (
    Fault("gpm, one side of the scores only", SCORES + "pair_scores",
          "(forward - backward) / 2", "forward + 1e-7 * a[..., 0]",
          ("scores_are_skew_symmetric", "nothing_is_preferred_to_itself", "group_scores_add_up_to_nothing")),
    Fault("gpm, sum for difference", SCORES + "pair_scores", "a[..., 0] * b[..., 1] - a", "a[..., 0] * b[..., 1] + a",
          ("scores_are_skew_symmetric", "nothing_is_preferred_to_itself", "group_scores_add_up_to_nothing")),
    Fault("gpm, the difference of a scalar", SCORES + "pair_scores", "(forward - backward) / 2 * small * large",
          "a[..., 0] * a_scale - b[..., 0] * b_scale", ("a_cycle_is_learnt",)),
    Fault("gpm, second coordinate not pinned", "fdiv_gym_gprl.model:GeneralPreferenceModel.embeddings",
          "torch.ones_like(values)", "hidden[..., :1]", ("a_scalar_has_two_thirds_of_a_cycle",)),
    Fault("gprl, dimensions not standardised", ADVANTAGE + "compute",
          'fg.get_advantage("group", eps=self.options.eps, correction=self.options.correction)',
          'fg.get_advantage("mean-centred")',
          ("one_pinned_dimension_is_grpo_on_the_logit", "scale_of_a_dimension_does_not_matter",
           "a_cycle_has_advantages", "advantages_depend_on_the_basis", "advantages_are_their_formulas",
           "formula_of_gprl")),
    Fault("gprl, by the row", ADVANTAGE + "compute", "weight * part, 0.0)",
          "weight * part * torch.arange(len(part)), 0.0)", ("responses_permute", "advantages_are_their_formulas")),
    Fault("gprl, eigenvalues cut at 1", ADVANTAGE + "compute", "weight = eigenvalue *",
          "weight = eigenvalue.clamp(max=1.0) *", ("eigenvalues_matter", "a_cycle_has_advantages")),
    Fault("gprl, rewards compared", ADVANTAGE + "compared", "return [", "return [groups.rewards] or [",
          ("a_cycle_has_advantages",)),
    Fault("gprl objective, beta not passed on", "fdiv_gym_gprl.objective:GPRLObjective._passed",
          "return list(type(self).Options.model_fields)",
          "return [name for name in type(self).Options.model_fields if name != 'beta']", ("formula_of_gprl",)),
    Fault("monitor, ratio of the shares upside down", LAW + "_targets", "math.log(before[n]) - _log(now[n])",
          "_log(now[n]) - math.log(before[n])", ("exploited_dimensions_are_lowered",)),
    Fault("monitor, variance not held", LAW + "_hold", "one.risen(self.options.saturation)", "False",
          ("saturated_exploits_are_not_fed",)),
    Fault("monitor, multipliers not in the checkpoint", LAW + "load_state_dict", "Dimension(**one)",
          "Dimension(**{**one, 'multiplier': 1.0})", ("a_resumed_monitor_is_the_same",)),
)  # fmt: skip
