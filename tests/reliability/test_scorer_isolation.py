"""A plugin of others that hangs, ends its process, prints or changes its tasks costs one batch and not the run."""

import contextlib
import copy
import os
import pickle
import random
import sys
import threading
import time
from pathlib import Path
from types import MappingProxyType

import pytest
from folder_harness import config_file

import fdiv_gym as fg
from fdiv_gym.evaluation import rescore, sample_records
from fdiv_gym.registry import close_plugin, counters_of, scoped_registry
from fdiv_gym.rollouts import TimeoutLedger, score_checked
from fdiv_gym.rollouts.isolation.child import Child
from fdiv_gym.rollouts.isolation.deadline import LONGEST_S, deadline_s
from fdiv_gym.rollouts.isolation.place import Place, place_of
from fdiv_gym.runs import RunFolder, load_config, train
from fdiv_gym_math.addition import Addition

ID = "foreign/Words-v0"


@pytest.fixture(scope="module")
def build():
    """Builds ``foreign_scorers:Words`` as a registered plugin of another distribution, and closes it."""
    with contextlib.ExitStack() as stack:
        registry = stack.enter_context(scoped_registry())
        registry.add(fg.Entry("judge", "foreign", "foreign_scorers:ForeignJudge", "mine:test"))
        registry.add(fg.Entry("environment", ID, "foreign_scorers:Words", "mine:test"))

        def make(**options):
            env = fg.make(ID, **options)
            stack.callback(close_plugin, env)
            return env

        yield make


@pytest.fixture(scope="module")
def far(build):
    """An environment that scores in a process of its own; it takes most of a second to start."""
    return build()


@pytest.fixture(scope="module")
def near(build):
    """The same environment in this process."""
    return build(isolate=False)


def scored(env, *responses, ledger=None):
    """Verdicts on responses to the first task."""
    task = env.task_list("train")[0]
    return score_checked(env, [task] * len(responses), responses, ledger)


def statuses(verdicts):
    return [str(verdict.status) for verdict in verdicts]


def gone(pid):
    """Whether a process ended; a zombie that nobody collects has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def worker_of(env):
    return int(scored(env, "where")[0].detail.split()[0])


def judged(env, *responses):
    """How many responses an environment counts while it scores these."""
    before = counters_of(env).get("judged", 0)
    scored(env, *responses)
    return counters_of(env)["judged"] - before


def test_verdicts_and_counters_of_an_isolated_scorer_are_those_in_this_process(far, near):
    for responses in (["0", "1", "0"], [], ["1"]):
        assert scored(far, *responses) == scored(near, *responses)
        assert counters_of(far) == counters_of(near)
    assert counters_of(far)["judged"] == 4
    assert far.judged == 0
    close_plugin(far)
    assert counters_of(far)["judged"] == 4
    assert judged(far, "0") == 1


def test_a_scorer_that_hangs_times_out_and_then_stops_the_run_with_its_name(build, tmp_path):
    env = build(score_deadline_s=2.0, note=str(tmp_path / "note"))
    keys = []
    ledger = TimeoutLedger(remember=keys.append)
    assert statuses(scored(env, "0", "0", ledger=ledger)) == ["scored", "scored"]
    late = scored(env, "0", "backtracks", ledger=ledger)
    assert statuses(late) == ["timeout", "timeout"]
    assert "took more than 2.0625 s" in late[0].detail
    assert keys == []  # a pair beside one that hangs is scored again
    assert statuses(scored(env, "0", ledger=ledger)) == ["scored"]
    assert statuses(scored(env, "backtracks", ledger=ledger)) == ["timeout"]
    assert len(keys) == 1
    assert counters_of(env)["judged"] == 3
    assert judged(env, "0") == 1
    with pytest.raises(fg.errors.EnvError, match=r"'foreign/Words-v0' of plugin mine:test: .* hangs"):
        scored(env, "sleeps")
    pids = [int(pid) for pid in (tmp_path / "note").read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: all(gone(pid) for pid in pids))


def test_a_scorer_that_ends_its_process_costs_one_batch(far):
    verdicts = scored(far, "0", "exits")
    assert statuses(verdicts) == ["error", "error"]
    assert "the process that scored 2 responses ended with status 0" in verdicts[0].detail
    assert judged(far, "0", "1") == 2


def test_other_faults_cost_one_response(far, near, capfd):
    responses = ("0", "raises", "prints", "unpicklable")
    verdicts = scored(far, *responses, "huge")
    assert statuses(verdicts) == ["scored", "error", "scored", "scored", "error"]
    assert "ValueError: \\x1b]0;no such word" in verdicts[1].detail
    assert verdicts[3].components == {"part": 0.25}
    assert "more than 1048576" in verdicts[4].detail
    assert capfd.readouterr().out == ""  # the error stream gets what the plugin prints
    assert verdicts[:4] == scored(near, *responses)


def test_a_broken_contract_is_the_same_error_in_both_places(far, near):
    messages = []
    for env in (far, near):
        with pytest.raises(fg.errors.EnvError, match="must return a Verdict") as caught:
            scored(env, "nothing")
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_an_isolated_scorer_changes_its_copy_of_a_task_only(far, build):
    verdicts = [scored(far, "mutates")[0] for _ in range(2)]
    assert [verdict.score for verdict in verdicts] == [1.0, 1.0]
    assert verdicts[0].detail == "tuple"
    assert far.task_list("train")[0].data["seen"] == []
    near = build(isolate=False)
    assert [scored(near, "mutates")[0].score for _ in range(2)] == [1.0, 2.0]


def test_a_worker_ends_with_its_environment_and_when_scoring_is_interrupted(far, monkeypatch):
    pid, session, torch = scored(far, "where")[0].detail.split()
    assert pid == session != str(os.getsid(0))  # Ctrl-C of the terminal does not reach it
    assert torch == "False"  # an import of seconds that this plugin does not need
    assert pickle.loads(pickle.dumps(far)).deputy is None
    assert copy.deepcopy(far).deputy is None
    with monkeypatch.context() as patch:
        patch.setattr("fdiv_gym.rollouts.isolation.child.read_frame", _interrupted)
        with pytest.raises(KeyboardInterrupt):
            scored(far, "0")
    wait_until(lambda: gone(pid))
    again = worker_of(far)
    close_plugin(far)
    wait_until(lambda: gone(again))


def _interrupted(file, longest):
    raise KeyboardInterrupt


def test_a_worker_killed_between_batches_is_replaced_and_draws_alike(far):
    state = random.getstate()
    pid, first = worker_of(far), scored(far, "draws", "draws")
    os.kill(pid, 9)
    wait_until(lambda: gone(pid))
    assert scored(far, "draws", "draws") == first
    assert first[0].score != first[1].score
    assert random.getstate() == state


def test_threads_share_a_worker_which_outlives_the_one_that_started_it(build):
    env = build()
    found = {}

    def score(name):
        found[name] = [scored(env, "where", *name) for _ in range(20)]

    def in_threads(names):
        threads = [threading.Thread(target=score, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    in_threads(["0"])
    assert found["0"][0][0].detail == scored(env, "where")[0].detail
    in_threads(["001", "010", "100", "111"])
    for name in ("001", "010", "100", "111"):  # each thread has the answers to its own responses
        assert [[v.score for v in verdicts[1:]] for verdicts in found[name]] == [[float(c == "0") for c in name]] * 20


def test_a_lost_worker_leaves_neither_processes_nor_an_answer_to_the_next_batch(build, tmp_path):
    env = build(note=str(tmp_path / "note"))
    assert scored(env, "abandons")[0].detail.endswith("ended with status 3")
    wait_until(lambda: gone((tmp_path / "note").read_text()))
    assert scored(env, "litters")[0].detail.endswith("sent what is no answer")
    assert [verdict.score for verdict in scored(env, "0", "1")] == [1.0, 0.0]


@pytest.mark.parametrize("seconds", [1e9, 1e300])
def test_a_deadline_is_at_most_a_year(seconds):
    assert deadline_s(fg.TextEnv.Options(score_deadline_s=seconds), 10_000) == LONGEST_S < threading.TIMEOUT_MAX


def test_the_place_of_a_plugin(build):
    assert place_of(build(), None) is Place.WORKER
    assert place_of(build(), False) is Place.WATCHED
    ours = fg.make("math/Addition-v0")
    assert place_of(ours, None) is Place.HERE
    assert place_of(ours, True) is Place.WORKER
    assert place_of(Addition(), None) is Place.WATCHED  # an instance with the state that Python gave it
    assert place_of(fg.make("safety/Refusal-v0"), None) is Place.HERE
    assert place_of(fg.make("safety/Refusal-v0", judge="foreign"), None) is Place.WORKER
    judged = build(judge={"name": fg.get_judge("rule")})
    assert place_of(judged, None) is Place.WATCHED
    with pytest.raises(fg.errors.ConfigError, match=r"isolate = true is not possible.*'rule' was passed"):
        place_of(judged, True)
    assert place_of(build(helper=len), None) is Place.WATCHED
    with pytest.raises(fg.errors.ConfigError, match=r"not possible, because an option of .* has no JSON form"):
        place_of(build(helper=len), True)
    with pytest.raises(fg.errors.ConfigError, match=r"'isolat' .did you mean 'isolate'"):
        build(isolat=True)


def test_an_environment_that_only_this_process_can_build_is_refused(build):
    env = build(isolate=True)
    env.entry = fg.Entry("environment", "foreign/Lost-v0", "no_such_module:Words", "mine:test")
    with pytest.raises(fg.errors.PluginError, match=r"cannot be built in its scoring process: .*no_such_module"):
        scored(env, "0")


def test_a_task_that_cannot_be_sent_is_refused_with_the_name_of_the_plugin(far, monkeypatch):
    task = fg.Task("x", "1", MappingProxyType({}))
    with pytest.raises(fg.errors.PluginError, match=r"^environment 'foreign/Words-v0' .*mappingproxy.*isolate = false"):
        score_checked(far, [task], ["1"])
    monkeypatch.setattr(sys.modules["__main__"], "Own", type("Own", (), {"__module__": "__main__"}), raising=False)
    task = fg.Task("x", "1", {"own": sys.modules["__main__"].Own()})  # as in a notebook
    with pytest.raises(fg.errors.PluginError, match=r"^environment 'foreign/Words-v0' .*attribute 'Own'.*isolate"):
        score_checked(far, [task], ["1"])


@pytest.mark.slow
def test_a_run_with_an_isolated_judge_has_the_lines_and_totals_of_one_without(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_QUIET", "1")
    lines = []
    for isolate in (False, True):
        values = load_config(config_file(tmp_path), ["trainer.steps=2"]).resolved()
        values["env"] = {"id": "safety/Refusal-v0", "isolate": isolate}
        folder = tmp_path / str(isolate)
        train(values, folder)
        found = [*RunFolder(folder).lines("metrics.jsonl"), *RunFolder(folder).lines("evaluations.jsonl")]
        lines.append([{k: v for k, v in line.items() if not k.startswith(("time/", "memory/"))} for line in found])
    assert lines[0] == lines[1]
    assert lines[1][1]["total/judged"] > 0


def test_rescoring_isolates_a_verifier_by_choice(tmp_path, monkeypatch):
    task, verdict = fg.Task("1+1=", "2"), fg.Verdict.scored(0.0)
    trajectory = fg.types.Trajectory((1, 2), (0.0, -1.0), (False, True), r"\boxed{2}", "eos", verdict)
    group = fg.types.TrajectoryGroup(task, (trajectory,))
    records = sample_records(Addition(), [group], [0], split="train", mode="sampled", step=1)
    RunFolder(tmp_path).append("samples.jsonl", *records)
    asked, ask = [], Child.score

    def score(self, against, responses, deadline_s):
        asked.append((against, responses, deadline_s))
        return ask(self, against, responses, deadline_s)

    monkeypatch.setattr(Child, "score", score)
    done = rescore(tmp_path, "math", {"isolate": True, "score_deadline_s": 64})
    assert [verdict.score for verdict in done.verdicts] == [1.0]
    assert asked == [(["2"], [r"\boxed{2}"], 65.0)]
