"""The code in the documents does what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]

IN_A_SANDBOX = """
from sandlot import Client

with Client.local() as client, client.sandboxes.create("python-jupyter") as sandbox:
"""


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)


def run(code: str, place: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout


def promised(code: str) -> list[str]:
    """Return what the comments say is printed."""
    return re.findall(r"print.*  # (.*)", code)


def test_the_readme(tmp_path: Path) -> None:
    first, with_asyncio, clients, code, files, build = blocks("README.md")
    assert run(first, tmp_path) == "hello from a sandbox\n 0\n"
    assert run(with_asyncio, tmp_path).count("StreamStdoutEvent") == 3
    assert "create" not in clients  # it cannot run without a server
    assert run("from sandlot import Client\n" + code, tmp_path) == "3 None\n"
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    in_a_plain_one = IN_A_SANDBOX.replace('"python-jupyter"', "")  # Jupyter has files of its own
    said = run(in_a_plain_one + textwrap.indent(files, "    "), tmp_path)
    assert said.splitlines() == promised(files)
    (tmp_path / "src").mkdir()
    _ = (tmp_path / "src" / "install.sh").write_text("echo installed\n")
    said = run(
        IN_A_SANDBOX.replace('"python-jupyter"', "") + textwrap.indent(build, "    "), tmp_path
    )
    assert "\ninstalled\n" in said
    assert said.endswith("/home/user/app\nfast\n\n")


def test_running_code(tmp_path: Path) -> None:
    state, stream = blocks("docs/code.md")
    assert run(state, tmp_path).splitlines() == promised(state)
    assert len(promised(state)) == 4
    said = run(IN_A_SANDBOX + textwrap.indent(stream, "    "), tmp_path)
    assert said == "0\n1\n2\nthe value is 2\n"


def test_snapshots(tmp_path: Path) -> None:
    (code,) = blocks("docs/snapshots.md")
    assert run(code, tmp_path).splitlines() == promised(code)


def test_processes(tmp_path: Path) -> None:
    background, terminal = blocks("docs/processes.md")
    said = run(background, tmp_path).splitlines()
    assert said == ["begun", "ready", "['server']", "SIGKILL", "3 out"]
    assert run(terminal, tmp_path) == "True 4\n"


def test_builds(tmp_path: Path) -> None:
    (code,) = blocks("docs/builds.md")
    assert run(code, tmp_path).splitlines() == promised(code)


def test_files(tmp_path: Path) -> None:
    (code,) = blocks("docs/files.md")
    assert run(code, tmp_path).splitlines() == promised(code)
    assert len(promised(code)) == 5


def test_accounts(tmp_path: Path) -> None:
    (code,) = blocks("docs/accounts.md")
    place = ["--data-dir", str(tmp_path / "data"), "--port", "0", "--orphan-timeout-sec", "0"]
    command = [sys.executable, "-m", "sandlot.server", *place]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            lines = (json.loads(line) for line in server.stderr)
            port = next(line["port"] for line in lines if line["event"] == "listening")
            said = run(code.replace(":8080", f":{port}"), tmp_path).splitlines()
        finally:
            server.terminate()
            _, _ = server.communicate()
    assert re.fullmatch(r"wrn_[0-9a-f]{6} \['audit', 'sandboxes'\]", said[0])
    assert said[1:] == promised(code)
    assert server.returncode == 0
