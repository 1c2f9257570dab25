"""The Python tool and the search tool as a ToolEnv takes them."""

import asyncio

from fdiv_gym.envs.tools_functions import run_tool, signature_of
from fdiv_gym_tools.python import python_tool, run_python
from fdiv_gym_tools.search import TextIndex, search_tool


def test_they_are_tools(tmp_path):
    (tmp_path / "a.txt").write_text("granite is a stone")
    search = search_tool(TextIndex(tmp_path))
    for tool, argument in ((run_python, "code"), (python_tool(), "code"), (search, "query")):
        assert signature_of(tool).text_parameter == argument
    found = asyncio.run(run_tool(search, {"query": "stone"}, 60.0, 1000, "search"))
    assert (found.text, found.status) == ("a.txt: granite is a stone", "done")
    found = asyncio.run(run_tool(python_tool(deadline_s=60.0), {"code": "1 + 1"}, 60.0, 1000, "python"))
    assert (found.text, found.status) == ("2", "done")
