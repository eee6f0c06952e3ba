"""Where a client finds its server and its credential."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import pytest

from sandlot import AsyncClient, Client, Config, ConfigurationError
from sandlot._endpoints import endpoint

URL = "https://sandboxes.example"
FILE = """
[default]
base_url = "https://file.example/api"
api_key = "from_file"
timeout = 7

[work]
base_url = "https://work.example"
token = "work_token"
proxy = "http://user:pass@proxy.example:3128"
ca_bundle = "/etc/ca.pem"
"""


def resolve(environment: dict[str, str] | None = None, **arguments: Any) -> Config:
    return Config.resolve(environment={"HOME": "/nowhere", **(environment or {})}, **arguments)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    _ = (tmp_path / "config.toml").write_text(FILE)
    return {"SANDLOT_HOME": str(tmp_path)}


def test_arguments_come_before_the_environment_before_the_file(home: dict[str, str]) -> None:
    config = resolve(home)
    assert (config.base_url, config.api_key) == ("https://file.example/api", "from_file")
    assert config.timeout == 7
    home |= {"SANDLOT_BASE_URL": "https://env.example", "SANDLOT_TIMEOUT": "3.5"}
    config = resolve(home)
    assert (config.base_url, config.api_key, config.timeout) == (
        *("https://env.example", "from_file", 3.5),
    )
    config = resolve(home, base_url=URL, timeout=1, api_key="mine")
    assert (config.base_url, config.api_key, config.timeout) == (URL, "mine", 1)


def test_the_usual_place_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / ".config" / "sandlot"
    folder.mkdir(parents=True)
    _ = (folder / "config.toml").write_text(FILE)
    assert resolve({"HOME": str(tmp_path)}).api_key == "from_file"


@pytest.mark.parametrize("layer", ["argument", "environment"])
def test_a_credential_hides_the_other_kind_below_it(home: dict[str, str], layer: str) -> None:
    if layer == "argument":
        config = resolve({**home, "SANDLOT_API_KEY": "k"}, token="t")
    else:
        config = resolve({**home, "SANDLOT_TOKEN": "t"})
    assert (config.api_key, config.token) == (None, "t")
    assert config.headers == {"Authorization": "Bearer t"}


def test_two_credentials_in_one_layer_are_refused(home: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="the arguments"):
        resolve(home, api_key="a", token="b")
    with pytest.raises(ConfigurationError, match="the environment"):
        resolve({**home, "SANDLOT_API_KEY": "a", "SANDLOT_TOKEN": "b"})


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_profiles(home: dict[str, str], how: str) -> None:
    if how == "argument":
        config = resolve({**home, "SANDLOT_PROFILE": "default"}, profile="work")
    else:
        config = resolve({**home, "SANDLOT_PROFILE": "work"})
    assert (config.base_url, config.token, config.ca_bundle) == (
        *("https://work.example", "work_token", "/etc/ca.pem"),
    )
    assert config.proxy == "http://user:pass@proxy.example:3128"


def test_an_unknown_profile_is_an_error_that_names_the_known(home: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="default, work"):
        resolve(home, profile="wrok")
    with pytest.raises(ConfigurationError, match="there is no file"):
        resolve(base_url=URL, profile="work")


def test_nothing_configured_names_the_ways_out() -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(api_key="k")
    for way in ("base_url", "SANDLOT_BASE_URL", "config.toml", "Client.local()"):
        assert way in str(caught.value)


def test_empty_variables_are_as_good_as_none(home: dict[str, str]) -> None:
    assert resolve({**home, "SANDLOT_API_KEY": "", "SANDLOT_BASE_URL": ""}).api_key == "from_file"


def test_nothing_is_read_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.toml", "sandlot.toml", ".sandlot.toml", ".env"):
        _ = (tmp_path / name).write_text('[default]\nbase_url = "https://evil.example"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="No server"):
        resolve()


@pytest.mark.parametrize(
    "arguments",
    [
        *({"base_url": url} for url in ("", "host", "ftp://h", "http://", "https://h?q", "h:80")),
        *({"base_url": url} for url in ("https://h/#f", "https://h:x", "https://h/a b", 7)),
        *({"timeout": value} for value in (0, -1, float("inf"), float("nan"), "x", True)),
        *({"api_key": value} for value in ("", "a b", "a\n", "é", "a\0", 7)),
        *({"token": value} for value in ("", "a\r\nX: y")),
        *({"proxy": value} for value in ("", "proxy:3128", "gopher://x")),
        {"ca_bundle": ""},
    ],
)
def test_nonsense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        resolve(**{"base_url": URL, **arguments})


@pytest.mark.parametrize(
    "content",
    [
        b"base_url = 'https://h'",
        b"[default]\nbase_url = ",
        b"\xff",
        b"[default]\nbase_urll = 'x'",
        b"[default]\nbase_url = 7",
        b"[default]\napi_key = 'a'\ntoken = 'b'\nbase_url = 'https://h'",
    ],
)
def test_nonsense_in_the_file_is_refused(tmp_path: Path, content: bytes) -> None:
    _ = (tmp_path / "config.toml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"config\.toml"):
        resolve({"SANDLOT_HOME": str(tmp_path)})


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        resolve({"SANDLOT_HOME": str(tmp_path)}, base_url=URL)


def test_a_url_with_a_password_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve(base_url="https://me:secret@h")
    assert "secret" not in str(caught.value)


def test_no_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    config = resolve(base_url=URL, api_key="wrn_secret", proxy="http://u:secret@p:1")
    shown = [repr(config), str(config), repr(endpoint(config))]
    for key in ({"api_key": "wrn secret"}, {"token": "secret\n"}):
        with pytest.raises(ConfigurationError) as caught:
            resolve(base_url=URL, **key)
        shown.append(str(caught.value))
    assert "secret" not in "".join([*shown, caplog.text])


def test_the_trailing_slash_is_dropped() -> None:
    assert resolve(base_url="https://h/api/").base_url == "https://h/api"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_from_env(kind: Any, unconfigured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ = (unconfigured / "config.toml").write_text(FILE)
    with pytest.raises(ConfigurationError, match="WRENN_BASE_URL") as caught:
        kind.from_env("WRENN_")
    assert "config.toml" not in str(caught.value)
    monkeypatch.setenv("WRENN_BASE_URL", URL)
    monkeypatch.setenv("WRENN_API_KEY", "k")
    monkeypatch.setenv("SANDLOT_API_KEY", "other")
    client = kind.from_env("WRENN_")
    assert repr(client) == f"<{kind.__name__} of {URL}>"
    assert client._transport._endpoint.headers["X-API-Key"] == "k"


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_reads_the_environment(
    kind: Any, unconfigured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="No server"):
        kind()
    monkeypatch.setenv("SANDLOT_BASE_URL", URL)
    assert repr(kind()) == f"<{kind.__name__} of {URL}>"
    _ = (unconfigured / "config.toml").write_text(FILE)
    assert kind(profile="work")._transport._endpoint.base_url == URL
    assert os.environ["SANDLOT_HOME"] == str(unconfigured)


def test_certificates_that_cannot_be_used(unconfigured: Path) -> None:
    client = Client("k", base_url=URL, ca_bundle=unconfigured / "missing.pem")
    with pytest.raises(ConfigurationError, match=r"missing\.pem"):
        _ = client.health()
