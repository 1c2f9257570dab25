"""What the tests of the runner share: a scripted policy, a tokenizer of code points, and conversations that log."""

from __future__ import annotations

import fdiv_gym as fg
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.rollouts.episodes import run_episodes
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.rollouts.text_episodes import run_text_episodes
from fdiv_gym.types import Completion, Sampling, TextCompletion


class Characters:
    """A tokenizer whose tokens are code points; 0 ends a response."""

    eos_token_id = 0

    def encode(self, text, add_special_tokens=True):
        return [ord(character) for character in text]


ENCODER = ChatEncoder(Characters())
SAMPLING = Sampling(max_new_tokens=8, seed=3)


class Script(fg.Engine):
    """Answers prompt i of turn t with ``say(i, t, text)``; ``prompts`` and ``calls`` hold what it was asked."""

    def __init__(self, say=lambda i, t, text: "ok", context=None):
        super().__init__()
        self.say, self.context_length = say, context
        self.prompts, self.calls = [], []

    def generate(self, prompts, n, sampling):
        self.calls.append((len(prompts), n, sampling.seed))
        texts = ["".join(map(chr, prompt)) for prompt in prompts]
        self.prompts.append(texts)
        turn = len(self.calls) - 1
        rows = [[self.say(i * n + j, turn, text) for j in range(n)] for i, text in enumerate(texts)]
        return [[_completion(said) for said in row] for row in rows]


def _completion(said):
    ids = (*map(ord, said), 0)
    return Completion(ids, (-0.25,) * len(ids), said, "eos")


class TextScript(TextEngine):
    """The same with chats; ``say`` gets the messages and may return a TextCompletion."""

    def __init__(self, say=lambda i, t, chat: "ok"):
        super().__init__()
        self.say, self.chats, self.calls = say, [], []

    def respond(self, chats, n, sampling):
        self.calls.append((len(chats), n, sampling.seed))
        self.chats.append([list(chat) for chat in chats])
        turn = len(self.calls) - 1
        rows = [[self.say(i * n + j, turn, chat) for j in range(n)] for i, chat in enumerate(chats)]
        return [[r if isinstance(r, TextCompletion) else TextCompletion(r, "eos", len(r)) for r in row] for row in rows]


class Counter(fg.Episode):
    """Counts its turns and ends after ``task.data["turns"]``; ``log`` gets every call."""

    def __init__(self, env, task):
        self.log, self.task, self.turn, self.said = env.log, task, 0, []
        self.closed = 0
        env.episodes.append(self)

    def reply(self, response):
        self.log.append(("reply", self.task.prompt, self.turn, response))
        self.turn += 1
        self.said.append(response)
        return f"turn {self.turn} of {self.task.prompt}" if self.turn < self.task.data["turns"] else None

    def outcome(self):
        return {"turns": self.turn, "said": "".join(self.said)}

    def close(self):
        self.log.append(("close", self.task.prompt))
        self.closed += 1


class Talks(fg.ConversationEnv):
    """Conversations of a given class; scores 1 where the outcome agrees with the transcript."""

    def __init__(self, episode=Counter, **options):
        super().__init__(**options)
        self.episode, self.log, self.episodes, self.scored = episode, [], [], []

    def tasks(self, split):
        return [fg.Task(f"{split} {i}", data={"turns": i + 1}) for i in range(4)]

    def begin(self, task):
        self.log.append(("begin", task.prompt))
        return self.episode(self, task)

    def score(self, task, transcript):
        self.scored.append(transcript)
        return fg.Verdict.scored(float(transcript.outcome.get("said") == "".join(transcript.responses)))


def tasks_of(*turns):
    return [fg.Task(f"t{i}", data={"turns": count}) for i, count in enumerate(turns)]


def run(env, tasks, n=1, engine=None, **options):
    """The trajectories of all groups, in order."""
    engine = engine or Script()
    groups = run_episodes(env, engine, ENCODER, tasks, n, SAMPLING, **options)
    return [trajectory for group in groups for trajectory in group.trajectories]


def run_text(env, tasks, n=1, engine=None, **options):
    groups = run_text_episodes(env, engine or TextScript(), tasks, n, SAMPLING, **options)
    return [trajectory for group in groups for trajectory in group]


def statuses(trajectories):
    return [str(trajectory.verdict.status) for trajectory in trajectories]
