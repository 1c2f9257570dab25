import pytest

from fdiv_gym.testing.servers import FaultyServer


@pytest.fixture
def server():
    with FaultyServer() as running:
        yield running


@pytest.fixture(autouse=True)
def keys(tmp_path, monkeypatch):
    """Write the user's file of keys; without a call there is none."""
    path = tmp_path / "configuration" / "keys.toml"
    monkeypatch.setenv("FDIV_GYM_KEYS", str(path))

    def write(text, mode=0o600):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FDIV_GYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
