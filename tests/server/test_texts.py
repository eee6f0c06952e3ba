"""What texts may consist of: the server refuses what the patterns of `openapi.yaml` refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from harness import Box, ServerProcess

from sandlot.server.api.paths import wanted_path
from sandlot.server.outgoing.failures import BadConfigError
from sandlot.server.outgoing.providers import check_config
from sandlot.server.outgoing.targets import Targets
from sandlot.server.services import naming, tags
from sandlot.server.services.errors import InvalidRequestError
from sandlot.server.services.files import check_path
from sandlot.server.services.hosts import check_tag
from sandlot.server.texts import is_printable

CONTRACT = yaml.safe_load(
    (Path(__file__).parents[2] / "internal" / "api" / "openapi.yaml").read_text()
)
CHARACTERS = [chr(code) for code in (*range(0x300), *range(0x1600, 0x1700), *range(0x2000, 0x3100))]
CHARACTERS += "\ud7ff\ue000\ufeff\ufffd\uffff\U0001f600"


def field(model: str, name: str) -> dict[str, Any]:
    """Return the schema of a field of a request."""
    found: dict[str, Any] = CONTRACT["components"]["schemas"][model]["properties"][name]
    return found


def allows(schema: dict[str, Any], text: str) -> bool:
    """Tell whether a schema allows a text."""
    longest, shortest = schema.get("maxLength", len(text)), schema.get("minLength", 0)
    unwanted = schema.get("not", {}).get("enum", ())
    # Python's $ is also before a line feed at the end.
    pattern = re.sub(r"\$$", r"\\Z", schema.get("pattern", ""))
    fits = shortest <= len(text) <= longest and text not in unwanted
    return fits and re.search(pattern, text) is not None


def accepts(check: Callable[[str], object], text: str) -> bool:
    """Tell whether the server takes a text."""
    try:
        return check(text) is not False
    except (InvalidRequestError, BadConfigError):
        return False


def config_value(text: str) -> None:
    """Check a text as a part of the configuration of a channel."""
    check_config("telegram", {"bot_token": text or "a", "chat_id": "1"}, Targets())


RULES: dict[str, tuple[dict[str, Any], Callable[[str], object]]] = {
    "email": (field("SignupRequest", "email"), naming.user_email),
    "member": (field("AddMemberRequest", "email"), naming.user_email),
    "user": (field("SignupRequest", "name"), naming.user_name),
    "renamed": (field("UpdateAccountRequest", "name"), naming.user_name),
    "password": (field("SignupRequest", "password"), naming.password),
    "new password": (field("PasswordRequest", "new_password"), naming.password),
    "team": (field("TeamNameRequest", "name"), naming.team_name),
    "channel": (field("CreateChannelRequest", "name"), naming.channel_name),
    "key": (field("CreateApiKeyRequest", "name"), naming.key_name),
    "sandbox": (field("CreateSandboxRequest", "name"), naming.sandbox_name),
    "snapshot": (field("CreateSnapshotRequest", "name"), naming.template_name),
    "build": (field("CreateBuildRequest", "name"), naming.template_name),
    "process": (field("ExecRequest", "tag"), lambda text: tags.check((), text)),
    "host tag": (field("AddHostTagRequest", "tag"), lambda text: check_tag(text, "tag")),
    "place": (
        field("CreateHostRequest", "provider"),
        lambda text: len(text) <= 128 and is_printable(text),
    ),
    "config": (
        CONTRACT["components"]["schemas"]["CreateChannelRequest"]["properties"]["config"][
            "additionalProperties"
        ],
        config_value,
    ),
    "path": (field("ReadFileRequest", "path"), lambda text: check_path(text or "a")),
}


INSIDE = {"email": "a{}@b", "member": "a{}@b", "password": "1234{}678", "new password": "1234{}678"}
LENGTHS = (0, 1, 2, 7, 8, 62, 63, 64, 65, 100, 101, 128, 129, 254, 255, 1024, 1025, 2048, 2049)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path_factory.mktemp("texts"), api_key_scopes="all")
    yield server
    assert server.stop() == 0


@pytest.mark.parametrize("rule", RULES)
def test_each_character(rule: str) -> None:
    schema, check = RULES[rule]
    around = INSIDE.get(rule, "a{}b")
    for character in CHARACTERS:
        plain = around.format("")
        for text in (around.format(character), character + plain, plain + character, character):
            assert allows(schema, text) == accepts(check, text), text


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("filling", ["a", "1", " ", "."])
def test_each_length(rule: str, filling: str) -> None:
    schema, check = RULES[rule]
    for length in LENGTHS:
        for text in (filling * length, (filling * length)[:-2] + "@b", " a" + filling * length):
            assert allows(schema, text) == accepts(check, text), (length, text)


BASE64 = """
    = A AA AAA AAAA A=== AA== AAA= AA=A AAAA= AA==AA== ab-_ AB== +/+/ AAAAAA== AAAAA AA=== \u00c4AAA
"""


@pytest.mark.parametrize("text", [*BASE64.split(), "", "AAA\n", "AAAA\n", " AAA", "AA A"])
def test_base64(text: str) -> None:
    schema = field("ReadFileRequest", "path_base64")
    assert allows(schema, text) == (
        not text or accepts(lambda it: wanted_path("path", None, it), text)
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "HTTPS://Example.com:443/a/b?c=d@e",
        "http://[2001:4860:4860::8888]:80/",
        "http://a:/",
        "http://a:0",
        "http://a:00080",
        "http://a:65535",
        "http://a:65536",
        "http://a:b",
        "http://a@b",
        "http://a#b",
        "http://a/\\b",
        "http://a\\b",
        "http://a b",
        "http://\u00e4",
        "http://",
        "http:///a",
        "http://?a",
        "http://a?b#c",
        "https:/a",
        "//a",
        "ftp://a",
        f"http://{'a' * 253}",
        f"http://{'a' * 254}",
    ],
)
def test_addresses_of_webhooks(url: str) -> None:
    schema = CONTRACT["components"]["schemas"]["TestChannelRequest"]["oneOf"][3]
    schema = schema["properties"]["config"]["properties"]["url"]

    def check(text: str) -> None:
        check_config("webhook", {"url": text}, Targets())

    assert allows(schema, url) == accepts(check, url)


@pytest.mark.parametrize(
    "question",
    [
        *("/v1/sandboxes?status=%00", "/v1/sandboxes?template=%00", "/v1/sandboxes?name=%00"),
        *("/v1/sandboxes?metadata.a=%00", "/v1/sandboxes?metadata.%00=a", "/v1/snapshots?type=%00"),
        *("/v1/audit-logs?resource_type=%00", "/v1/audit-logs?action=a,%00"),
    ],
)
def test_questions_that_cannot_be_asked(client: httpx.Client, question: str) -> None:
    assert client.get(question).json()["error"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    "question",
    [
        *("/v1/sandboxes?status=&limit=&cursor=", "/v1/sandboxes/usage?from=&to="),
        *("/v1/sandboxes/stats?range=", "/v1/audit-logs?limit=&before=&before_id=&action="),
        *("/v1/snapshots?type=", "/v1/admin/builds?limit=&cursor=", "/v1/admin/users?page="),
    ],
)
def test_what_is_empty_is_as_good_as_nothing(client: httpx.Client, question: str) -> None:
    assert client.get(question).json() == client.get(question.partition("?")[0]).json()


def test_checkpoints_and_commands_that_make_no_sense(box: Box) -> None:
    error = box.post("/checkpoints", name="a" * 256).json()["error"]
    assert error["message"].startswith("name: must ")
    wrong = [("cmd", ""), ("cmd", "\0"), ("cwd", "\0"), ("user", "\0"), ("tag", ""), ("tag", "1")]
    for name, text in wrong:
        error = box.post("/exec", **{"cmd": "true", name: text}).json()["error"]
        assert error["code"] == "invalid_request", name


def test_builds_that_cannot_be_kept(client: httpx.Client) -> None:
    for fields in ({"name": "a\0"}, {"base_template": "a\0"}):
        body = {"name": "a", "recipe": ["RUN true"], **fields}
        error = client.post("/v1/admin/builds", json=body).json()["error"]
        assert error["message"].startswith(f"{next(iter(fields))}: must ")
