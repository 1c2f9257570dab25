"""Tiny model files, and a cache of its own for each test that adds models."""

import pytest


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory):
    """A GGUF file of the tiny llama, in fp32."""
    from tiny_gguf import write_gguf

    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def converted(tiny_file, tmp_path_factory):
    """The model folder of the file, in a session's own cache; do not change it."""
    import os

    from fdiv_gym.models.gguf import folder_of_gguf

    before = os.environ["FDIV_GYM_CACHE"]
    os.environ["FDIV_GYM_CACHE"] = str(tmp_path_factory.mktemp("converted"))
    try:
        return folder_of_gguf(tiny_file.parent, tiny_file.name)
    finally:
        os.environ["FDIV_GYM_CACHE"] = before


@pytest.fixture
def no_large_files():
    """Inside the context no file of this process grows beyond 50 kB, as on a full disk."""
    import contextlib
    import resource

    @contextlib.contextmanager
    def limited():
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
