"""A failing plugin does not affect others: every kind of failure, the plugin imported before and after the core."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

GOOD = """
import fdiv_gym as fg

@fg.hookimpl
def fdiv_gym_register(registrar):
    registrar.add("judge", "{name}", "{package}:Fine", summary="fine")
"""
HEAD = "import fdiv_gym as fg\n@fg.hookimpl\n"

#: package -> (source of its plugin module, metadata)
FAULTS = {
    "raises": ("raise ValueError('two\\nlines')", ""),
    "leaves": ("import sys; sys.exit('bye')", ""),
    "slips": ("class Slippery(BaseException): pass\nraise Slippery('through')", ""),
    "doubled": (
        HEAD + "def fdiv_gym_register(registrar):\n"
        "    registrar.add('judge', 'first-of-two', 'doubled:X')\n"
        "    registrar.add('divergence', 'kl', 'doubled:X')\n", "",
    ),
    "misspelt": (HEAD + "def fdiv_gym_registre(registrar): pass", ""),
    "wrongarg": (HEAD + "def fdiv_gym_register(registry): pass", ""),
    "silent": ("import fdiv_gym", ""),
    "lacking": ("import no_such_package_anywhere", ""),
    "extra": ("import no_such_package_anywhere", "Requires-Dist: no-such-package-anywhere; extra == 'fast'\n"),
    "future": (GOOD.format(name="future", package="future"), "Requires-Dist: fdiv-gym>=99\n"),
    "needy": (
        HEAD + "def fdiv_gym_register(registrar):\n"
        "    registrar.add('judge', 'needy', 'needy:X', requires=['no_such_package_anywhere'], extra='big')\n", "",
    ),
    "stringy": (
        HEAD + "def fdiv_gym_register(registrar):\n"
        "    registrar.add('judge', 's', 'stringy:X', requires='torch')\n", "",
    ),
    "untargeted": (HEAD + "def fdiv_gym_register(registrar):\n    registrar.add('judge', 'u', 'untargeted.X')\n", ""),
    "environmental": (
        HEAD + "def fdiv_gym_register(registrar):\n"
        "    registrar.add('environment', 'NoVersion', 'environmental:X')\n", "",
    ),
    "unkind": (HEAD + "def fdiv_gym_register(registrar):\n    registrar.add('jugde', 'u', 'unkind:X')\n", ""),
    "good": (GOOD.format(name="good", package="good.fine"), ""),
    "malformed": ("", ""),
    "empty": ("", ""),
    "blocked_one": (GOOD.format(name="blocked-one", package="blocked_one.fine"), ""),
}  # fmt: skip

FINE = """
import fdiv_gym as fg

class Fine(fg.Judge):
    async def judge(self, tasks, responses):
        return [fg.Verdict.scored(1.0) for _ in responses]
"""


#: package -> its entry_points.txt, if it is not that of the others
ENTRY_POINTS = {
    "malformed": "[fdiv_gym]\nmain = not a valid:value:at all\n",
    "empty": "[fdiv_gym]\nmain =\n",
}


def plant(made, package: str, entry_points: str, metadata: str = "") -> Path:
    """Write the metadata of an installed distribution; its folder."""
    info = made.site / f"{package}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n{metadata}")
    (info / "entry_points.txt").write_text(entry_points)
    return info


@pytest.fixture(scope="module")
def venv(bare_venv):
    """A venv with every faulty package, written without pip."""
    made = bare_venv()
    for package, (source, metadata) in FAULTS.items():
        folder = made.site / package
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "plugin.py").write_text(textwrap.dedent(source))
        (folder / "fine.py").write_text(FINE)
        plant(made, package, ENTRY_POINTS.get(package, f"[fdiv_gym]\nmain = {package}.plugin\n"), metadata)
    return made


@pytest.fixture(scope="module")
def found(venv):
    output = venv.cli("plugins", "--json", FDIV_GYM_BLOCK="Blocked.One")
    return {plugin["name"]: plugin for plugin in json.loads(output)}


@pytest.mark.parametrize(
    ("package", "status", "cause"),
    [
        ("raises", "broken", "ValueError: two lines"),
        ("leaves", "broken", "SystemExit: bye"),
        ("slips", "broken", "Slippery: through"),
        ("doubled", "broken", "divergence 'kl' is registered twice: by fdiv-gym:core"),
        ("misspelt", "broken", "unknown hook 'fdiv_gym_registre'"),
        ("wrongarg", "broken", "Argument(s) {'registry'} are declared in the hookimpl"),
        ("silent", "broken", "it registered nothing: define fdiv_gym_register(registrar)"),
        ("lacking", "broken", "ModuleNotFoundError: No module named 'no_such_package_anywhere'"),
        ("extra", "unavailable(fast)", "needs no_such_package_anywhere: pip install 'extra[fast]'"),
        ("future", "broken", "it needs fdiv-gym>=99, but fdiv-gym"),
        ("needy", "unavailable(big)", "judge needy needs no_such_package_anywhere: pip install 'needy[big]'"),
        ("stringy", "broken", "requires of judge 's' must be a list, got 'torch'"),
        ("untargeted", "broken", "must read 'package.module:Class', got 'untargeted.X'"),
        ("environmental", "broken", "must read 'namespace/Name-vN'"),
        ("unkind", "broken", "unknown kind 'jugde' (did you mean 'judge'?)"),
        ("malformed", "broken", "must name a module, but its value is 'not a valid:value:at all'"),
        ("empty", "broken", "must name a module, but its value is ''"),
        ("good", "ok", ""),
        ("blocked-one", "blocked", "named in FDIV_GYM_BLOCK"),
    ],
)
def test_each_failure_is_reported_with_its_cause(found, package, status, cause):
    plugin = found[f"{package}:main"]
    assert (plugin["status"], plugin["version"]) == (status, "1.2")
    assert cause in plugin["cause"]
    assert "\n" not in plugin["cause"]
    if status == "broken":
        assert plugin["registered"] == []


def test_other_plugins_work(found):
    assert {p["status"] for name, p in found.items() if name.startswith("fdiv-gym:")} == {"ok"}
    assert found["good:main"]["registered"] == ["judge good"]


def test_the_table_is_readable_on_80_columns(venv):
    lines = venv.cli("plugins").splitlines()
    assert max(map(len, lines)) <= 80
    assert "raises:main 1.2  broken" in lines
    assert "    ValueError: two lines" in lines


def test_strict_makes_it_fatal(venv):
    output = venv.cli("--strict", "list", status=2)
    assert output.startswith("error: broken plugins: ")
    assert "raises:main: ValueError: two lines" in output


def test_an_unavailable_name_names_the_pip_command(venv):
    output = venv.run("-c", "import fdiv_gym as fg; fg.get_judge('needy')", status=1)
    assert "MissingExtraError: judge 'needy' of plugin needy:main needs no_such_package_anywhere" in output
    assert "pip install 'needy[big]'" in output


@pytest.mark.parametrize(
    "imports", ["import good.plugin, fdiv_gym as fg", "import fdiv_gym as fg, good.plugin", "import good.fine"]
)
def test_a_plugin_may_be_imported_before_or_after_the_core(venv, imports):
    code = (
        f"{imports}\nimport fdiv_gym as fg\n"
        "print(fg.get_judge('good').judge_batch([fg.Task('a')], ['b'])[0].score)\n"
        "print([p.status for p in fg.list_plugins() if p.name == 'good:main'])\n"
        "from fdiv_gym.registry.discovery import discovery\n"
        "try: discovery.registry.add(fg.Entry('judge', 'late', 'a:B', 'me'))\n"
        "except fg.PluginError as error: print(error)\n"
    )
    score, status, frozen = venv.run("-c", code).splitlines()
    assert (score, status) == ("1.0", "['ok']")
    assert frozen.startswith("the registry is frozen: plugin me cannot add judge 'late' now")


def test_a_plugin_that_is_being_imported_is_deferred(venv):
    (venv.site / "good" / "curious.py").write_text("")
    code = (
        "import sys, types, importlib.util\n"
        "spec = importlib.util.find_spec('good'); module = importlib.util.module_from_spec(spec)\n"
        "spec._initializing = True; sys.modules['good'] = module\n"
        "import fdiv_gym as fg\n"
        "print([p.status for p in fg.list_plugins() if p.name == 'good:main'])\n"
        "spec._initializing = False\n"
        "print([p.status for p in fg.list_plugins() if p.name == 'good:main'])\n"
    )
    assert venv.run("-c", code).split() == ["['deferred']", "['ok']"]


def test_blocking_one_entry_point_or_a_whole_distribution(venv):
    def status(block: str) -> dict[str, str]:
        return {p["name"]: p["status"] for p in json.loads(venv.cli("plugins", "--json", FDIV_GYM_BLOCK=block))}

    one = status("fdiv-gym:math,good:main")
    assert (one["fdiv-gym:math"], one["good:main"], one["fdiv-gym:alpha"]) == ("blocked", "blocked", "ok")
    whole = status("fdiv_gym")
    assert whole.pop("fdiv-gym:core") == "ok"
    assert {s for name, s in whole.items() if name.startswith("fdiv-gym:")} == {"blocked"}


def test_check_names_a_plugin_with_a_malformed_entry_point(bare_venv):
    made = bare_venv()
    plant(made, "malformed", ENTRY_POINTS["malformed"])
    output = " ".join(made.cli("check", "divergence", "no-such", status=2).split())
    assert "broken plugin malformed:main: the entry point must name a module" in output


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"[fdiv_gym]\nno value\n", "TypeError"),
        (b"[console_scripts]\nno value\n", "TypeError"),
        (b"[fdiv_gym]\nmain = \xff\n", "UnicodeDecodeError"),
    ],
)
def test_a_file_of_entry_points_that_cannot_be_parsed_is_its_own_fault(bare_venv, text, cause):
    made = bare_venv()
    info = plant(made, "unparsed", "")
    (info / "entry_points.txt").write_bytes(text)
    found = {plugin["name"]: plugin for plugin in json.loads(made.cli("plugins", "--json"))}
    faulty = found.pop("unparsed:entry_points.txt")
    assert (faulty["status"], faulty["version"]) == ("broken", "1.2")
    assert faulty["cause"].startswith(f"its entry_points.txt cannot be parsed: {cause}: ")
    assert {plugin["status"] for plugin in found.values()} == {"ok"}
    assert {"fdiv-gym:core", "fdiv-gym:math", "fdiv-gym:accelerate"} <= set(found)


def test_a_distribution_without_metadata_is_broken(bare_venv):
    """What an uninstallation that was cut off may leave."""
    made = bare_venv()
    (plant(made, "left", "[fdiv_gym]\nmain = left.plugin\n") / "METADATA").unlink()
    found = {plugin["name"]: plugin for plugin in json.loads(made.cli("plugins", "--json"))}
    faulty = found.pop("unknown:main")
    assert (faulty["status"], faulty["version"], faulty["module"]) == ("broken", "?", "left.plugin")
    assert "METADATA is absent or damaged" in faulty["cause"]
    assert {plugin["status"] for plugin in found.values()} == {"ok"}
