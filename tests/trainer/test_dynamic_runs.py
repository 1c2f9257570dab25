"""Whole runs with dynamic sampling: the tasks and seeds they draw, what they count, and an exact resume."""

import json

import pytest
import torch
from events_harness import run
from updates_harness import scored

import fdiv_gym as fg
from fdiv_gym.rollouts import run_episodes
from fdiv_gym_accelerate.sources import ShuffledOrder

PROMPTS, GROUP, BUDGET = 4, 4, 6
DYNAMIC = {"dynamic_sampling": {"budget": BUDGET}, "prompts_per_step": PROMPTS, "group_size": GROUP}


class Half(fg.TextEnv):
    """Every second task has score 0 whatever the response; the others score by the first letter."""

    scorings = 0

    def tasks(self, split):
        return [fg.Task(prompt=a + b, answer="") for a in "abcdefghij" for b in ("kl" if split == "train" else "mn")]

    def score(self, task, response):
        self.scorings += 1
        return fg.Verdict.scored(float(response[:1] < "m" and task.prompt[1] == "k"))

    def counters(self):
        return {"scorings": float(self.scorings)}


class Sees(fg.Callback):
    """Keeps what was sampled in each round, and what was trained on."""

    fatal = True
    rounds = ()
    trained = ()
    dies_at = 0

    def after_rollouts(self, step, groups):
        self.rounds.append((step, groups))

    def after_verdicts(self, step, groups):
        self.trained.append((step, groups))

    def before_rollouts(self, step):
        if step == self.dies_at:
            raise RuntimeError("killed")


def judged(group):
    """The group with its scores."""
    return scored(group, [Half().score(group.task, t.text).score for t in group.trajectories])


@pytest.fixture
def sees():
    """The callback, empty."""
    Sees.rounds, Sees.trained, Sees.dies_at = [], [], 0
    return Sees


def prompts(groups):
    return [group.task.prompt for group in groups]


def responses(seen):
    return [(step, g.task.prompt, [t.token_ids for t in g.trajectories]) for step, groups in seen for g in groups]


def has_signal(group):
    return len(set(group.rewards)) > 1


def test_steps_draw_the_next_tasks_until_all_groups_have_signal(tmp_path, sees, monkeypatch):
    seeds = []

    def played(*given, **named):
        seeds.append(given[5].seed)
        return run_episodes(*given, **named)

    monkeypatch.setattr("fdiv_gym_accelerate.rollouts.run_episodes", played)
    found = run(tmp_path, 4, env=Half, callbacks=[sees], **DYNAMIC)
    assert not found.error
    drawn = [prompt for _, groups in sees.rounds for prompt in prompts(groups)]
    tasks = Half().tasks("train")
    assert drawn == [tasks[i].prompt for i in ShuffledOrder(20, 0, "order").items(0, len(drawn))]
    scorings = 0
    state = torch.load(tmp_path / "run" / "checkpoints" / "step-000004" / "state.pt")["extra"]
    assert state["positions"]["rollouts"] == len(drawn)
    readings = state["windows"]["recent"]
    for line, (step, trained), reading in zip(found.lines, sees.trained, readings, strict=True):
        rounds = [groups for at, groups in sees.rounds if at == step]
        sampled, signal = sum(map(len, rounds)), sum(map(has_signal, trained))
        assert len(trained) == PROMPTS
        assert PROMPTS < sampled <= PROMPTS + BUDGET
        assert (line["groups/sampled"], line["groups/with_signal"]) == (sampled, signal)
        assert signal == PROMPTS or sampled == PROMPTS + BUDGET
        assert (step in found.at("budget_spent")) == (signal < PROMPTS)
        kept = set(prompts(rounds[0])) & set(prompts(trained))
        assert line["groups/replaced"] == PROMPTS - len(kept)
        scorings += sampled * GROUP
        assert line["total/scorings"] == scorings + 2  # the evaluation before step 1 has two responses
        drawn_equal = sum(not has_signal(judged(g)) for groups in rounds for g in groups)
        assert line["groups/all_equal"] == drawn_equal / sampled  # of all that were drawn
        tokens = [
            sum(t.response_length for g in groups for t in g.trajectories)
            for groups in ([g for groups in rounds for g in groups], trained)
        ]
        assert line["response/tokens"] == tokens[0] / (sampled * GROUP)
        assert line["time/tokens_per_second"] * line["time/rollout_seconds"] == pytest.approx(tokens[0])
        assert [reading["responses"], reading["tokens"], reading["trained"]] == [sampled * GROUP, *tokens]
    assert sum(line["groups/replaced"] for line in found.lines) >= 5
    assert len(set(seeds)) == len(seeds) == len(sees.rounds)  # each round has draws of its own


def test_without_the_table_a_run_is_what_it_was(tmp_path, sees):
    """Four tasks a step in the shuffled order; the step's own draws are the same with further groups and without."""
    plain = run(tmp_path / "plain", 2, env=Half, callbacks=[sees], prompts_per_step=PROMPTS, group_size=GROUP)
    assert not any(key in line for line in plain.lines for key in ("groups/sampled", "groups/replaced"))
    own = responses(sees.rounds)
    assert len(own) == 2 * PROMPTS
    sees.rounds, sees.trained = [], []
    run(tmp_path / "dynamic", 1, env=Half, callbacks=[sees], **DYNAMIC)
    assert responses(sees.rounds[:1]) == own[:PROMPTS]


def test_a_resumed_run_draws_the_same_tasks_and_responses(tmp_path, sees):
    options = {"env": Half, "callbacks": [sees], "checkpoint_every": 2, **DYNAMIC}
    whole = run(tmp_path / "whole", 4, **options)
    drawn, sees.rounds, sees.trained = responses(sees.rounds), [], []
    sees.dies_at = 4
    assert "killed" in run(tmp_path / "cut", 4, **options).error
    sees.rounds, sees.trained, sees.dies_at = [], [], 0
    resumed = run(tmp_path / "cut", 4, resume=True, **options)
    assert responses(sees.rounds) == [record for record in drawn if record[0] > 2]
    assert len(responses(sees.rounds)) > 2 * PROMPTS

    def untimed(lines):
        return [{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in lines]

    assert untimed(whole.lines) == untimed(resumed.lines)


class Chooses(fg.Curriculum, Half):
    """Chooses tasks by the seed, and keeps what it is told."""

    def __init__(self, **options):
        super().__init__(**options)
        type(self).told, type(self).seeds = [], []

    def choose_tasks(self, count, seed):
        self.seeds.append((count, seed))
        return [self.task_list("train")[(seed + i) % 20] for i in range(count)]

    def observe(self, outcomes):
        self.told.append(list(outcomes))

    def state_dict(self):
        return {"level": 1}

    def load_state_dict(self, state):
        pass


def test_a_curriculum_chooses_further_tasks_and_learns_of_all_of_them(tmp_path, sees):
    """Told of the groups with signal only, it would never see a task that is always or never solved."""
    found = run(tmp_path, 3, env=Chooses, callbacks=[sees], **DYNAMIC)
    assert not found.error
    assert [len(outcomes) for outcomes in Chooses.told] == [line["groups/sampled"] for line in found.lines]
    assert sum(count for count, _ in Chooses.seeds) == sum(line["groups/sampled"] for line in found.lines)
    assert len({seed for _, seed in Chooses.seeds}) == len(Chooses.seeds) > 3


class AsksAgain(fg.Episode):
    def reply(self, response):
        return "k"


class TwoTurns(fg.ConversationEnv):
    """The tasks and scores of ``Half`` for the second response."""

    default_turns = 2

    def tasks(self, split):
        return Half().tasks(split)

    def begin(self, task):
        return AsksAgain()

    def score(self, task, transcript):
        return Half().score(task, transcript.response)

    def demonstrations(self, count, rng):
        return Half().demonstrations(count, rng)


def test_episodes_of_several_turns_are_replaced_as_a_whole(tmp_path, sees):
    found = run(tmp_path, 2, env=TwoTurns, callbacks=[sees], **DYNAMIC)
    assert not found.error
    assert sum(line["groups/replaced"] for line in found.lines) > 0
    trained = [t for _, groups in sees.trained for g in groups for t in g.trajectories]
    assert {t.turns for t in trained} == {2}
    assert all(t.verdict is not None for t in trained)


def test_a_hybrid_step_replaces_its_rollouts_and_keeps_its_preferences(tmp_path, sees):
    """The gradient of the preferences is that of the same step without further groups, that of the rollouts is not."""
    data = tmp_path / "pairs.jsonl"
    data.write_text(
        "".join(json.dumps({"prompt": c, "chosen": c * i, "rejected": "z"}) + "\n" for i, c in enumerate("abcdefgh", 1))
    )
    tables = {"objective": "f-hal", "preferences": {"path": str(data), "pairs_per_step": 2}}
    found = run(tmp_path, 1, env=Half, callbacks=[sees], **tables, **DYNAMIC)
    plain = run(tmp_path / "plain", 1, env=Half, prompts_per_step=PROMPTS, group_size=GROUP, **tables)
    assert not found.error + plain.error
    (line,), (other,) = found.lines, plain.lines
    assert line["groups/replaced"] > 0
    assert line["grad_norm/preferences"] == pytest.approx(other["grad_norm/preferences"], rel=1e-5)
    assert line["grad_norm/rollouts"] != pytest.approx(other["grad_norm/rollouts"], rel=1e-2)


def test_unscorable_groups_are_replaced_and_still_count_as_unscored(tmp_path, sees):
    class Unsure(Half):
        def score(self, task, response):
            return super().score(task, response) if task.prompt[1] == "k" else fg.Verdict.unscorable("planted")

    found = run(tmp_path, 1, env=Unsure, callbacks=[sees], max_unscored=0.9, **DYNAMIC)
    assert not found.error
    for line, (step, _) in zip(found.lines, sees.trained, strict=True):
        drawn = [prompt for at, groups in sees.rounds if at == step for prompt in prompts(groups)]
        assert line["verdicts/unscored"] == pytest.approx(sum(p[1] == "l" for p in drawn) / len(drawn))
    assert "planted" in run(tmp_path / "strict", 1, env=Unsure, max_unscored=0.1, **DYNAMIC).error
