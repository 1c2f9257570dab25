"""Conversations in the report: who said what, what training acts on, and hostile text."""

from __future__ import annotations

from html.parser import HTMLParser

import fdiv_gym as fg
from fdiv_gym.runs import RunFolder, write_report
from fdiv_gym.runs.conversations import MESSAGES_SHOWN, conversation, prompt_messages
from fdiv_gym.types.message import message_records

HOSTILE = '</pre></td><script>alert("1")</script><img src=x onerror=y>\x1b[2J'
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
OPENING = (fg.Message("system", "Obey."), fg.Message("user", "1+1?"))
SAID = (
    fg.Message("assistant", CALL),
    fg.Message("tool", HOSTILE),
    fg.Message("assistant", HOSTILE),
    fg.Message("user", "again " + "x" * 5000),
    fg.Message("assistant", "\n2"),
)


def sample(messages=(*OPENING, *SAID), opening=2, step=0, prompt=None, **changes):
    transcript = fg.Transcript(tuple(messages), opening, **changes)
    return {
        "step": step, "split": "heldout", "mode": "sampled", "task_hash": "t", "answer": "2",
        "prompt": message_records(OPENING) if prompt is None else prompt, "response": transcript.response,
        "verdict": {"score": 1.0, "status": "scored"}, "transcript": transcript.to_dict(),
    }  # fmt: skip


class Page(HTMLParser):
    """Texts of each ``pre`` with the classes of what encloses it, and all tags."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.said = [], set(), []
        self.feed(html)
        self.said = [(place, said.removeprefix("\n")) for place, said in self.said]  # as browsers do

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append((tag, dict(attributes).get("class") or ""))
        if tag == "pre":
            around = [name for _, name in self.open if name]
            self.said.append([around[-1] if around else "", ""])

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "pre":
            self.said[-1][1] += data


def report_of(tmp_path, *samples):
    run = RunFolder.create(tmp_path / "run", {"seed": 0})
    run.append("evaluations.jsonl", {"step": 0, "score/sampled": 0.5})
    run.append("samples.jsonl", *samples)
    return write_report(run.path).read_text()


def test_each_message_stands_with_its_role_and_the_policys_are_shaded(tmp_path):
    page = Page(report_of(tmp_path, sample(rewards=(0.5, 0.0, 0.0), outcome={"calls": 1}, end="turns", cut_off=True)))
    shown = HOSTILE.replace("\x1b", "\\x1b")
    long = "again " + "x" * 3994 + "\n... 1,006 more characters"
    assert page.said[:8] == [
        ("turn system", "Obey."), ("turn user", "1+1?"), ("scroll", "2"),  # the prompt, and the answer
        ("turn policy", CALL), ("turn tool", shown), ("turn policy", shown), ("turn user", long),
        ("turn policy", "\n2"),
    ]  # fmt: skip
    assert "script" not in page.tags


def test_why_it_ended_and_what_it_earned_is_told(tmp_path):
    html = report_of(tmp_path, sample(rewards=(0.5, 0.0, 0.0), outcome={"calls": "<b>"}, end="context", cut_off=True))
    assert html.count("reward 0.5") == 1
    assert "ended: no room in the context" in html
    assert "the last response was cut off" in html
    assert "outcome: {&#34;calls&#34;: &#34;&lt;b&gt;&#34;}" in html
    assert "no turns left" in report_of(tmp_path / "other", sample(end="turns"))
    quiet = report_of(tmp_path / "quiet", sample())
    assert not any(words in quiet for words in ("ended:", "cut off", "outcome:", "reward 0"))


def test_a_response_to_a_text_needs_no_role(tmp_path):
    messages = (fg.Message("user", "1+1?"), fg.Message("assistant", "2"))
    page = Page(report_of(tmp_path, sample(messages, 1, prompt="1+1?")))
    assert page.said[:3] == [("scroll", "1+1?"), ("scroll", "2"), ("policy", "2")]


def test_a_begin_that_is_not_the_prompt_is_shown():
    system = fg.Message("system", "Be short.")
    shown = conversation(sample((system, *OPENING[1:], fg.Message("assistant", "2")), prompt="1+1?"))
    assert [(m["role"], m["policy"]) for m in shown["messages"]] == [
        ("system", False), ("user", False), ("assistant", True),
    ]  # fmt: skip
    assert not shown["plain"]
    example = (*OPENING, fg.Message("assistant", "an example"), OPENING[1], fg.Message("assistant", "2"))
    shown = conversation(sample(example, 4))
    assert [m["policy"] for m in shown["messages"]] == [False, False, False, False, True]


def test_of_a_long_conversation_both_ends_are_shown():
    turns = [fg.Message(role, str(i)) for i in range(30) for role in ("assistant", "user")]
    shown = conversation(sample((*OPENING, *turns)))["messages"]
    assert len(shown) == MESSAGES_SHOWN + 1
    assert shown[20] == {"left": 20}
    assert (shown[0]["content"], shown[-1]["content"]) == ("0", "29")


def test_any_prompt_can_be_shown():
    for prompt in ("text", ["no", "messages"], None, [{"role": "boss", "content": "x"}]):
        assert [m["content"] for m in prompt_messages(prompt)] == [str(prompt)]
