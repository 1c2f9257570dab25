"""The page on metrics, from the glossary of ``fdiv_gym.runs`` and the plugins' own meanings."""

from __future__ import annotations

from collections.abc import Iterator

from _generate.text import NOTE, code, prose, table
from fdiv_gym.registry import KINDS, Entry, list_entries
from fdiv_gym.runs import GLOSSARY, meanings_of

FILES = {
    "metrics.jsonl": "One line for each optimizer step, in the run folder.",
    "evaluations.jsonl": "One line for each evaluation on held-out tasks and pairs, in the run folder.",
    "results.json": "The result of `fdiv-gym eval`, in the folder of the evaluation.",
}


def own_entries() -> Iterator[Entry]:
    """The usable names of fdiv-gym's own plugins, of every kind."""
    for kind in KINDS:
        yield from (entry for entry in list_entries(kind) if entry.distribution == "fdiv-gym" and entry.status == "ok")


def plugin_meanings() -> dict[tuple[str, str], list[str]]:
    """(key, meaning) -> the plugins that log it, as ``kind name``."""
    found: dict[tuple[str, str], list[str]] = {}
    for entry in own_entries():
        for key, meaning in meanings_of(entry.load()).items():
            found.setdefault((key, meaning), []).append(f"{entry.kind} {code(entry.name)}")
    return found


def metrics_page() -> str:
    """The glossary as tables, one for each file."""
    lines = [
        NOTE,
        "# Metrics",
        "",
        "The keys of the files that a run and an evaluation write. A part such as `<name>` stands for a name. `null`",
        "stands for a value that is not finite. `fdiv_gym.runs.meaning_of(key)` returns the same sentences in Python.",
        "",
    ]
    for file, about in FILES.items():
        rows = [(code(term.key), prose(term.meaning)) for term in GLOSSARY if term.where == file]
        lines += [f"## {file}", "", about, "", *table(("key", "meaning"), rows), ""]
    rows = [
        (code(key), prose(meaning), ", ".join(names)) for (key, meaning), names in sorted(plugin_meanings().items())
    ]
    lines += [
        "## Keys of plugins",
        "",
        "A plugin class explains its own keys in `metric_meanings`; a key below replaces the pattern above.",
        "",
        *table(("key", "meaning", "logged by"), rows),
    ]
    return "\n".join(lines) + "\n"
