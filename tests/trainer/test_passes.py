"""Log-probs that several parts of a step need are computed once."""

import copy

import pytest
from updates_harness import make_updates

import fdiv_gym as fg
from fdiv_gym_accelerate.minibatches import StepRows
from fdiv_gym_accelerate.passes import Passes, token_budget
from fdiv_gym_accelerate.streams import rollout_stream

CASES = [
    ("dapo", {}, 0),  # the gradient's own pass measures engine and ratios
    ("dapo", {"updates_per_rollout": 2}, 0),
    ("dapo", {"minibatches": 2}, 1),  # engine and policy are compared on all rows before the first update
    ("kl-cov", {}, 1),
    ("kl-cov", {"old_logps": "recomputed"}, 1),
    ("kl-cov", {"old_logps": "recomputed", "minibatches": 2}, 2),  # the second mini-batch has another policy
    ("kl-cov", {"updates_per_rollout": 2}, 2),
]


@pytest.mark.parametrize(("name", "settings", "expected"), CASES)
def test_passes_without_gradient(tiny, groups, monkeypatch, name, settings, expected):
    model, tokenizer, _ = tiny
    counted, all_rows = [], Passes.all_rows

    def counting(self, model, stream, temperature):
        counted.append(len(stream.lengths))
        return all_rows(self, model, stream, temperature)

    monkeypatch.setattr(Passes, "all_rows", counting)
    policy = copy.deepcopy(model)
    updates = make_updates(fg.get_objective(name), policy, None, tokenizer=tokenizer, **settings)
    line = updates.run(1, StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups))
    assert len(counted) == expected
    assert line["engine/logprob_gap"] < 1e-4
    assert line["policy/entropy"] > 0
    assert line["updates/count"] == settings.get("minibatches", 1) * settings.get("updates_per_rollout", 1)


def test_log_probs_of_an_earlier_policy_are_not_taken(tiny, groups, monkeypatch):
    """With the fault the second mini-batch gets the log-probs from before the first update, and another gradient."""
    from fdiv_gym_accelerate.update import Updater

    model, tokenizer, _ = tiny
    lines, score = [], Updater.score_policy
    for stale in (False, True):
        if stale:
            monkeypatch.setattr(Updater, "score_policy", lambda self, stream, moved: score(self, stream, moved=False))
        settings = {"old_logps": "recomputed", "minibatches": 2, "learning_rate": 1e-2}
        updates = make_updates(fg.get_objective("kl-cov"), copy.deepcopy(model), None, tokenizer=tokenizer, **settings)
        lines.append(updates.run(1, StepRows({"rollouts": rollout_stream(groups, tokenizer.pad_token_id)}, groups)))
    assert lines[0]["grad_norm"] != lines[1]["grad_norm"]


def test_the_budget_of_tokens_follows_the_model(tiny):
    import torch

    class Wide:
        class config:  # noqa: N801 - as transformers names it
            @staticmethod
            def get_text_config():
                return Wide.config

            num_hidden_layers, hidden_size, intermediate_size = 10**4, 10**4, 10**5

        @staticmethod
        def parameters():
            return iter([torch.zeros(1)])

    assert token_budget(Wide, torch.device("cpu")) == 1024
    assert token_budget(tiny[0], torch.device("cpu")) == 16384
