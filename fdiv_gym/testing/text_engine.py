"""The conformance kit for engines that exchange text: what of an engine's contract applies without weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fdiv_gym.errors import ConfigError, EngineError, MissingExtraError
from fdiv_gym.models.config import ModelConfig
from fdiv_gym.registry.guard import check_texts, label_of
from fdiv_gym.rollouts.text_engine import TextEngine
from fdiv_gym.testing.report import CannotCheckError, Report
from fdiv_gym.types.message import Message
from fdiv_gym.types.text import TextCompletion
from fdiv_gym.types.trajectory import Sampling

CHATS = tuple(
    (Message("user", f"Name a number from 0 to 9{end}"),) for end in (".", " and say why.", ", then name a colour.")
)
SAMPLING = Sampling(max_new_tokens=16, seed=11)


def check_text_engine(engine: TextEngine, model: str = "embedded") -> Report:
    """Check a text engine that is not yet loaded; ``check_engine`` calls it.

    Responses that a seed does not repeat, greedy ones that differ and samples that are all equal are notes and no
    failures: they may be right for the model at the other end.

    Args:
        engine: an instance; it is loaded here and left closed.
        model: the model's name; ``embedded`` is the only one there is.

    Raises:
        CannotCheckError: the engine needs a package that is not installed, or options to reach a model.
    """
    report = Report(label_of(engine))
    with report.section("load"):
        try:
            engine.load(ModelConfig(name_or_path=model))
        except (MissingExtraError, ConfigError) as error:
            raise CannotCheckError(str(error)) from None
    if not report.ok:
        return report
    checks: dict[str, Callable[[TextEngine, Report], None]] = {
        "samples": _samples,
        "stop-reason": _stop_reasons,
        "several-turns": _several_turns,
        "repeatable": _repeatable,
        "refusals": _refusals,
        "training": _training,
    }
    for name, check in checks.items():
        with report.section(name):
            check(engine, report)
    with report.section("close"):
        engine.close()
        engine.close()
    return report


def _respond(
    engine: TextEngine, n: int, sampling: Sampling, chats: Sequence[Sequence[Message]] = CHATS
) -> list[list[TextCompletion]]:
    return check_texts(engine, engine.respond(chats, n, sampling), len(chats), n)


def _samples(engine: TextEngine, report: Report) -> None:
    for n in (1, 4):
        groups = _respond(engine, n, SAMPLING)
        report.check(
            "samples", any(c.text for group in groups for c in group),
            f"no response has a text: {[c.withheld or c.stop_reason for group in groups for c in group]}",
        )  # fmt: skip
    if all(len({c.text for c in group}) == 1 for group in groups):
        report.notes.append("the samples of each prompt are all equal: the seeds of one request may be the same")


def _stop_reasons(engine: TextEngine, report: Report) -> None:
    """A response of one token is cut off, unless it is the end token alone."""
    for completion in (c for group in _respond(engine, 1, replace(SAMPLING, max_new_tokens=1)) for c in group):
        report.check(
            "stop-reason", completion.tokens is None or completion.tokens <= 1,
            f"{completion.tokens} tokens, max_new_tokens is 1",
        )  # fmt: skip
        report.check(
            "stop-reason", completion.stop_reason == "length" or len(completion.text) <= 1 or bool(completion.withheld),
            f"stop_reason is {completion.stop_reason!r} for {completion.text!r}, but max_new_tokens is 1",
        )  # fmt: skip


def _several_turns(engine: TextEngine, report: Report) -> None:
    first = _respond(engine, 1, SAMPLING, CHATS[:1])[0][0]
    chat = [*CHATS[0], Message("assistant", first.text or "7"), Message("user", "Name another one.")]
    report.check("several-turns", len(_respond(engine, 2, SAMPLING, [chat])[0]) == 2)


def _repeatable(engine: TextEngine, report: Report) -> None:
    greedy = replace(SAMPLING, temperature=0.0)
    for what, sampling in (("the same seed", SAMPLING), ("a greedy request", greedy)):
        first, second = (_respond(engine, 1, sampling, CHATS[:1])[0][0].text for _ in range(2))
        if first != second:
            report.notes.append(f"{what} gave two responses: {first[:60]!r} and {second[:60]!r}")


def _refusals(engine: TextEngine, report: Report) -> None:
    for what, chats in (("a chat without messages", [()]), ("an empty message", [(Message("user", ""),)])):
        try:
            engine.respond(chats, 1, SAMPLING)
        except EngineError:
            continue
        report.fail("refusals", f"{what} was accepted, expected an EngineError")


def _training(engine: TextEngine, report: Report) -> None:
    asked: dict[str, Callable[[], object]] = {
        "start": lambda: engine.start(None, None),
        "generate": lambda: engine.generate([[1]], 1, SAMPLING),
        "update_weights": lambda: engine.update_weights([]),
    }
    for name, call in asked.items():
        try:
            call()
        except EngineError as error:
            report.check("training", "cannot train" in str(error), f"{name} says only: {error}")
        else:
            report.fail("training", f"{name} was accepted, expected an EngineError: no weights can be sent")
