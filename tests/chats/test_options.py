"""Options of chats: a template from a file, its variables, the system prompt, and messages as prompts."""

import os

import pytest
from chat_templates import need_trl, rendering, template, tokenizer

import fdiv_gym as fg
from fdiv_gym.models.chat import ChatEncoder
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.models.embedded import character_tokenizer
from fdiv_gym.runs.config import parse_config
from fdiv_gym.types import Message

SHOWN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ '<assistant>' }}"


def encoder_of(**options):
    return ChatEncoder.of(character_tokenizer(), ModelConfig(name_or_path="some/model", **options))


def test_a_template_from_a_file_is_used(tmp_path):
    path = tmp_path / "own.jinja"
    path.write_text(SHOWN)
    encoder = encoder_of(chat_template=str(path))
    assert encoder.tokenizer.decode(encoder.prompt("2+2")) == "<user>2+2<assistant>"
    chat = [Message("system", "s"), Message("user", "u"), Message("tool", "t")]
    assert encoder.tokenizer.decode(encoder.prompt(chat)) == "<system>s<user>u<tool>t<assistant>"


REFUSED = {
    "missing": (None, r"cannot be used: .*No such file"),
    "empty": (b" \n", "cannot be used: it is empty"),
    "no text": (b"\xff\xfe\x00", "cannot be used: 'utf-8' codec"),
    "too long": (b"{# " + b"a" * 300_000 + b" #}", "cannot be used: it has more than 200000 characters"),
    "broken": (b"{% for m in messages %}{{ m.content }}", "TemplateSyntaxError: Unexpected end of template"),
    "shows nothing": (b"hi", "does not show the user's message 'hello'"),
    "too large": (b"{{ 'a' * 2000000 }}", "makes 2000000 characters"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_no_template_is_refused(tmp_path, kind):
    content, problem = REFUSED[kind]
    path = tmp_path / "own.jinja"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(fg.ConfigError, match=problem):
        encoder_of(chat_template=str(path))


def test_a_template_that_reads_the_inside_of_objects_fails_at_its_first_prompt(tmp_path):
    path = tmp_path / "own.jinja"
    path.write_text("{{ messages.__class__.__mro__ }}")
    encoder = encoder_of(chat_template=str(path))
    with pytest.raises(fg.ConfigError, match=r"fails for a chat of 1 messages: .*; set model.chat_template to"):
        encoder.prompt("hello")


def test_what_is_not_a_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero", "a\0b"):
        with pytest.raises(fg.ConfigError, match=r"model.chat_template = .* cannot be used: "):
            encoder_of(chat_template=str(path))


@need_trl
def test_a_variable_of_the_template_changes_the_prompt(trusted):
    tok, chat = tokenizer(template("qwen3")), [Message("user", "c")]
    plain, silent = ChatEncoder(tok), ChatEncoder(tok, options={"enable_thinking": False})
    begin = "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"
    assert tok.decode(plain.prompt("c")) == rendering(tok, chat) == begin
    assert tok.decode(silent.prompt("c")) == rendering(tok, chat, enable_thinking=False)
    assert tok.decode(silent.prompt("c")) == begin + "<think>\n\n</think>\n\n"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"enable_thinkng": False}, "has 'enable_thinkng', and the chat template names no such variable"),
        ({"messages": "x"}, "may not set 'messages'"),
        ({"chat_template": "{{ x }}"}, "may not set 'chat_template'"),
        ({"add_generation_prompt": False}, "may not set 'add_generation_prompt'"),
    ],
)
def test_an_option_that_no_template_reads_is_refused(tmp_path, options, problem):
    path = tmp_path / "own.jinja"
    path.write_text(SHOWN + "{{ enable_thinking }}")
    with pytest.raises(fg.ConfigError, match=problem):
        encoder_of(chat_template=str(path), chat_template_options=options)


def test_options_without_a_template_are_refused(tmp_path):
    with pytest.raises(fg.ConfigError, match="the tokenizer has no chat template"):
        encoder_of(chat_template_options={"enable_thinking": False})
    for given in ({"chat_template": "x.jinja"}, {"chat_template_options": {"a": 1}}):
        with pytest.raises(ValueError, match='chat = "never" uses no chat template'):
            ModelConfig(chat="never", **given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"chat_template": "x.jinja"}, "chat_template"),
        ({"chat_template": ""}, "chat_template"),
        ({"chat_template_options": {"enable_thinking": False}}, "chat_template_options"),
        ({"chat_template": "x", "chat_template_options": {"a": 1}}, "chat_template and chat_template_options"),
    ],
)
def test_the_embedded_model_refuses_a_template(given, named):
    with pytest.raises(fg.ConfigError, match=rf"^\[model\]: {named} would show .*: remove it, or name another model"):
        parse_config({"env": {"id": "math/Addition-v0"}, "model": given})
    assert ModelConfig(name_or_path="some/model", **given).model_fields_set == {"name_or_path", *given}


class Talk(fg.TextEnv):
    """Prompts of one text, of messages, and with a system message of its own."""

    def tasks(self, split):
        own = (Message("system", "mine"), Message("user", "b"))
        return [
            fg.Task("a"),
            fg.Task((Message("user", "x"), Message("assistant", "y"), Message("tool", "z"))),
            fg.Task(own),
        ]

    def score(self, task, response):
        return fg.Verdict.scored(1.0)


class Heard(fg.Engine):
    """Keeps the prompts, and answers with ``1``."""

    def generate(self, prompts, n, sampling):
        self.heard = [self.tokenizer.decode(list(p)) for p in prompts]
        tokens = (self.tokenizer.convert_tokens_to_ids("1"), self.tokenizer.eos_token_id)
        return [[fg.Completion(tokens, (-1.0, -1.0), "1", "eos")] * n for _ in prompts]


@pytest.mark.parametrize(("system", "before"), [(None, ""), ("be brief", "<system>be brief")])
def test_the_system_prompt_stands_before_the_first_message(system, before):
    from fdiv_gym.rollouts import run_episodes

    engine, env = Heard(), Talk(system_prompt=system, isolate=False)
    engine.tokenizer = character_tokenizer()
    engine.tokenizer.chat_template = SHOWN
    tasks = env.task_list("train")
    groups = run_episodes(env, engine, ChatEncoder(engine.tokenizer), tasks, 1, engine.sampling(0))
    assert engine.heard == [
        f"{before}<user>a<assistant>", f"{before}<user>x<assistant>y<tool>z<assistant>",
        "<system>mine<user>b<assistant>",
    ]  # fmt: skip
    opening = [group.trajectories[0].transcript.opening for group in groups]
    assert opening == [1 + bool(system), 3 + bool(system), 2]
    assert [group.trajectories[0].transcript.responses for group in groups] == [("1",)] * 3


class Twice(fg.Episode):
    """Two turns."""

    left = 2

    def reply(self, response):
        self.left -= 1
        return "more" if self.left else None


class TwoTurns(fg.ConversationEnv):
    """The template of the test refuses the text of the second task."""

    default_turns = 2

    def tasks(self, split):
        return [fg.Task("a"), fg.Task("!")]

    def begin(self, task):
        return Twice()

    def score(self, task, transcript):
        return fg.Verdict.scored(1.0)


class Alternating(Heard):
    """Answers every second prompt with ``!``."""

    def generate(self, prompts, n, sampling):
        found = [c for group in super().generate(prompts, n, sampling) for c in group]
        end = self.tokenizer.eos_token_id
        other = fg.Completion((self.tokenizer.convert_tokens_to_ids("!"), end), (-1.0, -1.0), "!", "eos")
        found = [other if i % 2 else c for i, c in enumerate(found)]
        return [found[i : i + n] for i in range(0, len(found), n)]


def test_a_response_that_the_template_refuses_costs_its_episode_only():
    from fdiv_gym.rollouts import run_episodes

    engine, env = Alternating(), TwoTurns(isolate=False)
    engine.tokenizer = character_tokenizer()
    engine.tokenizer.chat_template = SHOWN + (
        "{% for m in messages %}{% if '!' in m.content %}{{ raise_exception('no !') }}{% endif %}{% endfor %}"
    )
    encoder, tasks = ChatEncoder(engine.tokenizer), env.task_list("train")
    (group,) = run_episodes(env, engine, encoder, tasks[:1], 4, engine.sampling(0))
    # Two are over after their first answer; of the others one says so at its last turn, which no prompt follows.
    assert [t.verdict.status for t in group.trajectories] == ["scored", "error", "scored", "error"]
    assert [t.turns for t in group.trajectories] == [2, 1, 2, 1]
    assert "chat template fails for a chat of 3 messages: TemplateError: no !" in group.trajectories[1].verdict.detail
    with pytest.raises(fg.ConfigError, match="fails for a chat of 1 messages"):
        run_episodes(env, engine, encoder, tasks, 4, engine.sampling(0))


ROLES = (
    "{% for m in messages %}{% if m.role not in roles %}{{ raise_exception('no such role') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)


class Asks(Twice):
    """The second message is a tool's."""

    def reply(self, response):
        said = super().reply(response)
        return said and Message("tool", said)


@pytest.mark.parametrize(
    ("roles", "message", "helps"),
    [
        (["user", "assistant"], "x", True),  # refuses tool
        (["assistant"], "x", False),  # refuses both
        (["user", "assistant", "tool"], "!", False),  # refuses something else
    ],
)
def test_the_error_of_a_template_that_refuses_tools_names_the_option(roles, message, helps):
    tok = character_tokenizer()
    tok.chat_template = f"{{% set roles = {roles} %}}" + ROLES.replace(
        "m.role not in", "'!' in m.content or m.role not in"
    )
    with pytest.raises(fg.ConfigError, match="fails for a chat of 2 messages: TemplateError: no such role") as caught:
        ChatEncoder(tok).prompt([Message("assistant", "a"), Message("tool", message)])
    assert str(caught.value).endswith(': set env.tool_role = "user"') == helps
    assert ("tool_role" in str(caught.value)) == helps


def test_an_episode_with_a_refused_tool_says_which_option_to_set(monkeypatch):
    from fdiv_gym.rollouts import run_episodes

    engine, env = Heard(), TwoTurns(isolate=False)
    monkeypatch.setattr(env, "begin", lambda task: Asks())
    engine.tokenizer = character_tokenizer()
    engine.tokenizer.chat_template = "{% set roles = ['user', 'assistant'] %}" + ROLES
    encoder, tasks = ChatEncoder(engine.tokenizer), env.task_list("train")
    (group,) = run_episodes(env, engine, encoder, tasks[:1], 1, engine.sampling(0))
    assert group.trajectories[0].verdict.status == "error"
    assert group.trajectories[0].verdict.detail.endswith(': set env.tool_role = "user"')
