import pytest

from fdiv_gym.testing.servers import FaultyServer


@pytest.fixture
def server():
    with FaultyServer() as running:
        yield running


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
