"""What a run says of a scorer that changes tasks or raises, and of splits that share tasks."""

from types import SimpleNamespace

import fdiv_gym as fg
from fdiv_gym.runs import event_policies
from fdiv_gym_accelerate.events import EventLog
from fdiv_gym_accelerate.scoring_events import ScoringWatch


class Words(fg.TextEnv):
    """Repeat a word."""

    def tasks(self, split):
        return [fg.Task(f"say {i}", str(i), {"seen": []}) for i in (range(8) if split == "train" else range(6, 12))]

    def score(self, task, response):
        return fg.Verdict.scored(float(response == task.answer))


def reported(env, verdicts, tasks=None, step=2, change=lambda task: None):
    said = []
    log = EventLog(event_policies({}), said.append)
    watch = ScoringWatch(log, env)
    tasks = list(env.task_list("train"))[:2] if tasks is None else tasks
    watch.before(step, tasks)
    change(tasks[0])
    watch.after([SimpleNamespace(trajectories=[SimpleNamespace(verdict=verdict) for verdict in verdicts])])
    return {record["name"]: record for record in log.records(step)}, said


GOOD = [fg.Verdict.scored(1.0)] * 6
BAD = [fg.Verdict.error("ValueError: planted")] * 3


def test_a_changed_task_is_named_with_what_it_was_and_is():
    found, said = reported(Words(), GOOD, change=lambda task: task.data["seen"].append("x"))
    assert found["mutated_task"]["tasks"] == 1
    assert '{"seen": []}' in said[0]
    assert '{"seen": ["x"]}' in said[0]
    assert "Words" in said[0]
    assert reported(Words(), GOOD)[0] == {}


def test_a_scorer_that_raises_on_a_third_is_told_with_its_first_error():
    found, said = reported(Words(), GOOD + BAD)
    assert found["scorer_raises"]["share"] == 3 / 9
    assert "33%" in said[0]
    assert "ValueError: planted" in said[0]
    assert reported(Words(), GOOD * 5 + BAD[:1])[0] == {}  # one failure in thirty is no pattern


def test_shared_tasks_are_told_at_the_first_step_only():
    found, said = reported(Words(), GOOD, step=1)
    assert found["shared_tasks"]["tasks"] == 2
    assert "2 of the 6 held-out tasks" in said[0]
    assert reported(Words(), GOOD, step=2)[0] == {}
