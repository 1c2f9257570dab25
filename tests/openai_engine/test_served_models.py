"""Evaluation of a model behind a real HTTP server: metrics, requests, turns, resuming."""

import json
import math
from collections import Counter, defaultdict
from itertools import combinations

import pytest
from model_server import ModelServer
from typer.testing import CliRunner

import fdiv_gym as fg
from fdiv_gym.cli.main import app
from fdiv_gym.evaluation import configure, evaluate
from fdiv_gym.evaluation.rescoring import rescore
from fdiv_gym.runs import train
from fdiv_gym.runs.folder import RunFolder
from fdiv_gym.types import Message


def lines_of(done):
    return RunFolder(done.folder).lines("samples.jsonl")


def right(text):
    a, b = text.rstrip("=").split("+")
    return str(int(a) + int(b))


def majority(answers, expected):
    """Expected score of the most frequent of four answers; tied ones share."""
    counts = Counter(answers)
    tied = [answer for answer, count in counts.items() if count == max(counts.values())]
    return (expected in tied) / len(tied)


def test_the_metrics_are_those_of_what_the_server_sent(server, plan_of, tmp_path):
    done = evaluate(plan_of(), tmp_path / "e", ks=[1, 2, 4])
    sent = defaultdict(list)
    for prompt, text in server.sent:
        sent[prompt].append(text)
    assert {len(texts) for texts in sent.values()} == {4}
    correct = {prompt: texts.count(right(prompt)) for prompt, texts in sent.items()}
    assert len(set(correct.values())) > 1  # the responses differ, and so do the tasks
    values = {name: metric["value"] for name, metric in done.results["metrics"].items()}
    for k in (1, 2, 4):
        expected = [1 - math.comb(4 - c, k) / math.comb(4, k) for c in correct.values()]
        assert values[f"pass@{k}"] == pytest.approx(sum(expected) / 6)
    pairs = [[majority(two, right(p)) for two in combinations(texts, 2)] for p, texts in sent.items()]
    assert values["maj@2"] == pytest.approx(sum(sum(of_task) / 6 for of_task in pairs) / 6)
    assert values["maj@4"] == pytest.approx(sum(majority(texts, right(p)) for p, texts in sent.items()) / 6)
    assert done.results["response_tokens"] == pytest.approx(sum(len(t) for _, t in server.sent) / 24)
    assert (done.results["model"], done.results["unscored"], done.results["contamination"]) == ("adder", 0.0, None)
    recorded = [(line["prompt"], line["response"]) for line in lines_of(done)]
    assert Counter(recorded) == Counter(server.sent)
    assert {line["logprob"] for line in lines_of(done)} == {None}


@pytest.mark.parametrize("several", ["ignored", "refused"])
def test_a_server_without_n_sampling_is_asked_for_one_at_a_time(plan_of, tmp_path, several):
    with ModelServer(several=several) as server:
        done = evaluate(plan_of("engine.concurrency=1", where=server.address), tmp_path / "e")
    numbers = [body.get("n", 1) for body in server.bodies]
    assert (numbers[0], numbers.count(4)) == (4, 1)  # it learns from the first
    assert len(server.sent) == len(lines_of(done)) == 24
    by_task = defaultdict(set)
    for body in server.bodies:
        by_task[body["messages"][0]["content"]].add(body["seed"])
    assert [len(seeds) for seeds in by_task.values()][1:] == [4] * 5  # independent draws
    assert Counter((line["prompt"], line["response"]) for line in lines_of(done)) == Counter(server.sent)


def test_a_request_says_everything_that_decides_the_draw(server, plan_of, tmp_path):
    evaluate(plan_of("engine.temperature=0.7", "engine.top_p=0.9", tasks=1), tmp_path / "e")
    path, headers, body = server.posts[0]
    seed = body.pop("seed")
    assert 0 <= seed < 2**31
    assert body == {
        "model": "adder", "messages": [{"role": "user", "content": lines_of_prompt(tmp_path / "e")}], "max_tokens": 4,
        "temperature": 0.7, "top_p": 0.9, "n": 4,
    }  # fmt: skip
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer none"
    more = "engine.extra={chat_template_kwargs={enable_thinking=false}}"
    options = ["engine.top_k=5", "engine.send_seed=false", 'engine.length_field="max_completion_tokens"', more]
    evaluate(plan_of(*options, tasks=1, samples=1, greedy=True), tmp_path / "f")
    body = server.bodies[-1]
    assert (body["temperature"], body["top_k"], body["max_completion_tokens"]) == (0.0, 5, 4)
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert not {"seed", "n", "max_tokens"} & set(body)


def lines_of_prompt(folder):
    return RunFolder(folder).lines("samples.jsonl")[0]["prompt"]


@pytest.mark.parametrize(
    ("maker", "added"),
    [
        ("vllm", {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}),
        ("llamacpp", {"top_k": 0, "min_p": 0.0}),
        ("somebody", {}),
    ],
)
def test_known_servers_add_nothing_of_their_own_to_the_distribution(plan_of, tmp_path, maker, added):
    with ModelServer(cards=[("adder", maker)]) as server:
        evaluate(plan_of(where=server.address, tasks=1), tmp_path / "e")
    assert {key: server.bodies[0].get(key) for key in ("top_k", "min_p", "repetition_penalty")} == {
        "top_k": None, "min_p": None, "repetition_penalty": None, **added,
    }  # fmt: skip


def test_a_response_that_was_cut_off_is_counted(plan_of, tmp_path):
    with ModelServer(answer=lambda *_: ("12345", "stop")) as server:  # it sends four characters of five
        done = evaluate(plan_of(where=server.address), tmp_path / "e")
    assert done.results["cut_off"] == 1.0
    assert {(line["response"], line["stop_reason"]) for line in lines_of(done)} == {("1234", "length")}


def test_several_turns_are_one_chat(guess, plan_of, tmp_path):
    def guesses(text, rng, temperature):
        return str(text.count("wrong")), "stop"  # 0, then 1, then 2

    with ModelServer(answer=guesses) as server:
        done = evaluate(plan_of(env=guess, where=server.address, tasks=None, samples=2), tmp_path / "e")
    assert done.results["metrics"]["avg@2"]["value"] == 1.0
    assert [(line["turns"], line["response"], line["tokens"]) for line in lines_of(done)] == [
        (1, "0", 1), (1, "0", 1), (2, "1", 2), (2, "1", 2), (3, "2", 3), (3, "2", 3),
    ]  # fmt: skip
    longest = max((body["messages"] for body in server.bodies), key=len)
    assert [(m["role"], m["content"]) for m in longest] == [
        ("user", "guess 2"), ("assistant", "0"), ("user", "wrong"), ("assistant", "1"), ("user", "wrong"),
    ]  # fmt: skip
    seeds = [body["seed"] for body in server.bodies]
    assert len(set(seeds)) == len(seeds)


def test_without_a_template_the_server_continues_the_text(server, guess, plan_of, tmp_path):
    evaluate(plan_of('model.chat="never"', env=guess, tasks=None, samples=1), tmp_path / "e")
    assert {path for path, _, _ in server.posts} == {"/v1/completions"}
    # The adder says 0 to any text without a sum.
    assert "guess 20wrong0wrong" in [body["prompt"] for body in server.bodies]


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8 tokens. However, you requested 12 tokens.",
        "the request exceeds the available context size, try increasing it",
    ],
)
def test_the_end_of_the_context_truncates_an_episode_and_does_not_end_the_evaluation(words, guess, plan_of, tmp_path):
    def full(handler, body, count):
        if len(body["messages"]) < 3:
            return False
        handler.send({"error": {"message": words}}, 400)
        return True

    with ModelServer(answer=lambda text, rng, temperature: ("0", "stop")) as server:
        server.fault = full
        done = evaluate(plan_of(env=guess, where=server.address, tasks=None, samples=2), tmp_path / "e")
    assert [(line["turns"], line["verdict"]["score"]) for line in lines_of(done)] == [(1, 1.0)] * 2 + [(1, 0.0)] * 4


def test_the_end_of_the_context_is_not_mistaken_for_a_server_that_gives_one_response_at_a_time(plan_of, tmp_path):
    def long(handler, body, count):
        if count > 1:
            return False
        handler.send({"error": {"message": "exceeds the maximum context length"}}, 400)
        return True

    with ModelServer() as server:
        server.fault = long
        done = evaluate(plan_of(where=server.address, tasks=3), tmp_path / "e")
    assert [body.get("n") for body in server.bodies] == [4, 4, 4]
    assert [line["verdict"]["status"] for line in lines_of(done)] == ["unscorable"] * 4 + ["scored"] * 8


def test_a_text_without_a_template_is_joined_as_the_encoder_of_tokens_joins_it():
    from fdiv_gym.models import ChatEncoder
    from fdiv_gym_openai.engine import plain_text

    class Characters:
        eos_token_id = 0

        def encode(self, text, add_special_tokens=True):
            return [ord(character) for character in text]

    chat = [Message("system", "s"), Message("user", "u"), Message("assistant", "a"), Message("tool", "t"),
            Message("user", "v"), Message("assistant", ""), Message("user", "w")]  # fmt: skip
    tokens = ChatEncoder(Characters()).prompt(chat)
    assert plain_text(chat) == "".join(map(chr, filter(None, tokens))) == "s\nuat\nvw"


def test_a_withheld_response_has_no_score(plan_of, tmp_path):
    def filtered(text, rng, temperature):
        return ("", "content_filter") if text.startswith("1") else (right(text), "stop")

    with ModelServer(answer=filtered) as server:
        done = evaluate(plan_of(where=server.address, tasks=None), tmp_path / "e")
    lines = lines_of(done)
    withheld = [line for line in lines if line["prompt"].startswith("1")]
    assert 0 < len(withheld) < len(lines)
    assert {line["verdict"]["score"] for line in withheld} == {None}
    assert done.results["unscored"] == len(withheld) / len(lines)
    assert done.results["metrics"]["pass@1"]["value"] == 1.0  # of the others
    assert "finish_reason 'content_filter'" in done.results["unscored_reason"]
    assert rescore(done.folder).refused == {"that the engine withheld": len(withheld)}


def test_a_server_that_counts_no_tokens(plan_of, tmp_path):
    with ModelServer(usage=False) as server:
        done = evaluate(plan_of(where=server.address, tasks=1), tmp_path / "e")
    assert done.results["response_tokens"] is None
    assert {line["tokens"] for line in lines_of(done)} == {None}


def test_it_resumes_after_a_failure_and_draws_the_same(server, plan_of, tmp_path):
    whole = evaluate(plan_of(batch=2), tmp_path / "whole")
    asked = len(server.posts)
    server.fault = lambda handler, body, count: count > asked + 2 and (handler.send({}, 400) or True)
    with pytest.raises(fg.EngineError, match="status 400"):
        evaluate(plan_of(batch=2), tmp_path / "e")
    assert len(RunFolder(tmp_path / "e").lines("samples.jsonl")) == 8  # the first batch
    server.fault = None
    patient = plan_of("engine.timeout_s=99", "engine.retries=7", "engine.concurrency=3", batch=2)
    again = evaluate(patient, tmp_path / "e")  # how it is sent does not decide the samples
    assert lines_of(again) == lines_of(whole)
    with pytest.raises(fg.ConfigError, match="contains another evaluation"):
        evaluate(plan_of("engine.top_p=0.5", batch=2), tmp_path / "e")


def test_the_command_prints_the_same_tables(server, tmp_path):
    common = ["eval", "adder", "--engine", "openai", "--base-url", server.address, "--env", "math/Addition-v0"]
    common += ["--set", "env.digits=1", "--set", "env.reverse=false", "--tasks", "3", "-n", "2"]
    shown = CliRunner().invoke(app, [*common, "-o", str(tmp_path / "a")])
    assert shown.exit_code == 0, shown.output
    assert "heldout: 3 tasks, 2 responses each, sampled" in shown.output
    assert "pass@2" in shown.output
    swept = CliRunner().invoke(app, [*common, "--temperature", "0.5", "--json", "-o", str(tmp_path / "b")])
    rows = json.loads(swept.output)["evaluations"]
    assert [(row["temperature"], row["model"]) for row in rows] == [(0.0, "adder"), (0.5, "adder")]
    assert {body["temperature"] for body in server.bodies} == {1.0, 0.0, 0.5}


def test_the_environment_of_a_run(server, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    env = {"id": "math/Addition-v0", "digits": 3, "reverse": False}
    engine = {"name": "transformers", "max_new_tokens": 9, "top_k": 3, "batch_rows": 2}
    (run / "config.json").write_text(json.dumps({"env": env, "engine": engine}))
    url = f'engine.base_url="{server.address}"'
    config, trained_on = configure("adder", str(run), overrides=[url], engine="openai")
    assert trained_on is None  # of this model nothing is known
    assert config.env is not None
    assert (config.env.checked_options.digits, config.env.checked_options.reverse) == (3, False)
    options = config.engine.checked_options
    assert (config.engine.name, options.max_new_tokens, options.top_k) == ("openai", 9, 3)
    with pytest.raises(fg.ConfigError, match="--env RUN takes the environment of a run"):
        configure(str(run), None, overrides=[url], engine="openai")


def test_the_judge_of_a_runs_environment_needs_consent(server, tmp_path):
    judge = {"name": "llm", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    (tmp_path / "config.json").write_text(json.dumps({"env": {"id": "safety/Preference-v0", "judge": judge}}))
    url = f'engine.base_url="{server.address}"'  # named by the user: needs none
    with pytest.raises(fg.ConfigError, match=r"sends prompts and responses to http://127.0.0.1:9/v1: .*--trust"):
        configure("adder", str(tmp_path), overrides=[url], engine="openai")
    configure("adder", str(tmp_path), overrides=[url], engine="openai", trust_endpoints=True)


@pytest.mark.parametrize(
    ("model", "overrides", "message"),
    [
        ("embedded", [], "no server has it"),
        (" ", [], "name is empty"),
        ("adder", ["model.adapter=x"], r"\[model\] adapter has no effect"),
        ("adder", ["engine.extra={seed=3}"], "'seed' is sent by the engine itself"),
        ("adder", ["engine.base_url=http://me:secret@h/v1"], "without user, password or query"),
        ("adder", ["engine.key=sk-1"], "unknown option 'key'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(server, plan_of, model, overrides, message):
    with pytest.raises(fg.ConfigError, match=message) as refused:
        plan_of(*overrides, model=model)
    assert "secret" not in str(refused.value)


def test_the_server_must_be_named():
    with pytest.raises(fg.ConfigError, match="base_url"):
        configure("adder", "math/Addition-v0", engine="openai")


def test_a_server_of_one_other_model_is_not_taken_for_it(server, plan_of, tmp_path):
    with pytest.raises(fg.EngineError, match="serves 'adder' and not 'other'"):
        evaluate(plan_of(model="other"), tmp_path / "e")
    assert server.posts == []
    with ModelServer(cards=None) as unlisted:  # without a list the name is sent as it is
        evaluate(plan_of(model="other", where=unlisted.address, tasks=1), tmp_path / "f")
    assert unlisted.bodies[0]["model"] == "other"


def test_training_is_refused_before_anything_is_made(server, tmp_path):
    engine = {"name": "openai", "base_url": server.address}
    with pytest.raises(fg.ConfigError, match=r"engine 'openai' .* cannot train .* no weights can be sent"):
        train({"env": {"id": "math/Addition-v0"}, "engine": engine}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_limit_of_concurrency_holds(server, plan_of, tmp_path):
    server.fault = lambda handler, body, count: server.stopping.wait(0.02)
    evaluate(plan_of("engine.concurrency=2"), tmp_path / "e")
    assert server.busiest == 2


def test_messages_are_sent_in_order(server):
    engine = fg.get_engine("openai", base_url=server.address)
    from fdiv_gym.models import ModelConfig

    engine.load(ModelConfig())
    assert engine._model == "adder"  # the only one
    chats = [[Message("user", f"{i}+0=")] for i in range(9)]
    replies = engine.respond(chats, 1, fg.Sampling(4, temperature=0.0))
    assert [group[0].text for group in replies] == [str(i + i % 2) for i in range(9)]
