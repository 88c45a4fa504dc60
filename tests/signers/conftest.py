import pytest


@pytest.fixture(autouse=True)
def _no_keys_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
    for name in ("MODELMILL_KEY_PASSWORD", "MODELMILL_PIN", "PYKCS11LIB"):
        monkeypatch.delenv(name, raising=False)
