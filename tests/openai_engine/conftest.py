import pytest
from model_server import ModelServer

import fdiv_gym as fg
from fdiv_gym.evaluation import Plan, configure

ADDITION = ("env.digits=1", "env.reverse=false", "engine.max_new_tokens=4", "engine.backoff_s=0.01")


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture(autouse=True)
def keys(tmp_path, monkeypatch):
    """Write the user's file of keys; without a call there is none."""
    path = tmp_path / "configuration" / "keys.toml"
    monkeypatch.setenv("FDIV_GYM_KEYS", str(path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def write(text):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)

    return write


@pytest.fixture
def plan_of(server):
    """A plan of single-digit additions on the server; a ``where`` replaces its address."""

    def make(*overrides, model="adder", env="math/Addition-v0", where=None, **options):
        base = f'engine.base_url="{where or server.address}"'
        given = [*(ADDITION if env == "math/Addition-v0" else ()), base, *overrides]
        config, trained_on = configure(model, env, overrides=given, engine="openai")
        return Plan(config, trained_on=trained_on, **{"tasks": 6, "samples": 4, **options})

    return make


class Wrong(fg.Episode):
    def __init__(self, right):
        self.right = right

    def reply(self, response):
        return None if response == self.right else "wrong"


class Guess(fg.ConversationEnv):
    """Task i asks for the number i; two more turns tell that a guess is wrong."""

    default_turns = 3

    def tasks(self, split):
        return [fg.Task(f"guess {i}", str(i)) for i in range(3)]

    def begin(self, task):
        return Wrong(task.answer)

    def score(self, task, transcript):
        return fg.Verdict.scored(float(transcript.response == task.answer))


@pytest.fixture
def guess():
    from fdiv_gym.registry.discovery import discovery
    from fdiv_gym.registry.hooks import Registrar

    with discovery.registry.scoped() as registry:
        registrar = Registrar(registry, "tests:openai")
        registrar.add("environment", "test/Guess-v0", Guess, summary="guess")
        yield "test/Guess-v0"
