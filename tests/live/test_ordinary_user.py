"""Without any rights: `Client.local()` isolates for an ordinary user too."""

from __future__ import annotations

import asyncio
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandlot
from tests.interpreters import open_to_all
from tests.live.world import line_of, marker, program, running

USER = 64_998
TOOLS = ("__pycache__", "mypy*", "pyright*", "nodejs*", "ruff*", "datamodel*", "black*")
"""What the library does not need; all else is linked, which is quick."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.getuid() != 0,
    reason="only root can become somebody else; the other tests are run by an ordinary user then",
)


QUICKSTART = """
    import os, sys
    from sandlot import Client, StreamStdoutEvent

    with Client.local() as client:
        isolation = client.capabilities().isolation
        print(isolation.level, isolation.private_uid, flush=True)
        with client.sandboxes.create("base-python") as box:
            box.wait_ready()
            box.upload("hello.py", b"print('hello from a sandbox')")
            print(box.exec("python3 hello.py", check=True).stdout.strip())
            pieces = [e.data for e in box.exec_stream("for i in 1 2 3; do echo $i; done")
                      if isinstance(e, StreamStdoutEvent)]
            print("".join(pieces).split())
            print(box.exec("id -u; ls /root /home; cat /etc/shadow").stdout.split())
            late = box.exec(["sleep", sys.argv[1]], timeout_sec=1)
            print(late.timed_out)
            box.stream_upload("big", (bytes(1 << 20) for _ in range(20)))
            print(len(box.download("big")))
            box.pause()
            box.resume()
            print(box.exec("echo $((6 * 7))").stdout.strip())
    print("done", os.listdir(os.environ["TMPDIR"]))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that the user owns, with all that is needed to run the library."""
    with tempfile.TemporaryDirectory(prefix="ordinary-", dir="/tmp") as name:
        place = Path(name)
        ignored = shutil.ignore_patterns(*TOOLS)
        for packages in filter(os.path.isdir, site.getsitepackages()):
            _ = shutil.copytree(
                packages, place / "lib", ignore=ignored, copy_function=link, dirs_exist_ok=True
            )
        source = Path(sandlot.__file__).parent
        _ = shutil.copytree(source, place / "src/sandlot", ignore=ignored)
        (place / "home").mkdir()
        os.chown(place / "home", USER, USER)
        place.chmod(0o755)
        yield place


def link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        _ = shutil.copy2(source, target)


async def test_the_quickstart(place: Path) -> None:
    mark = marker()
    environment = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "home"),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{place / 'src'}:{place / 'lib'}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with program(
        QUICKSTART,
        mark,
        python=open_to_all(),
        env=environment,
        cwd=place,
        user=USER,
        group=USER,
        extra_groups=(),
        stderr=subprocess.STDOUT,
    ) as process:
        expected = [
            "full False",
            "hello from a sandbox",
            "['1', '2', '3']",
            "['1000', '/home:', 'user']",
            "True",
            str(20 << 20),
            "42",
            "done []",
        ]
        for line in expected:
            assert await line_of(process) == line, await asyncio.to_thread(process.stdout.read)
        assert await asyncio.to_thread(process.wait, 20) == 0
    assert not running(mark)
