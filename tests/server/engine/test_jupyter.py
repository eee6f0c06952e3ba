"""The template python-jupyter, in a sandbox: its service, its kernels and its packages."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from sandlot.server.engine.base import Exit, PortClosedError, UnknownTemplateError

from .conftest import Box, OpenBox, Shared, spec
from .notebook import PORT, Notebook, execute, notebook

Jupyter = Callable[..., AbstractAsyncContextManager[tuple[Box, Notebook]]]


@pytest.fixture
def jupyter(open_box: OpenBox) -> Jupyter:
    """Opens a sandbox of the template, and a client of its Jupyter server."""

    @contextlib.asynccontextmanager
    async def jupyter(**changes: object) -> AsyncIterator[tuple[Box, Notebook]]:
        fields = {"template": "python-jupyter", "memory_mb": 512, "disk_mb": 512, **changes}
        async with open_box(**fields) as box, notebook(box.sandbox) as client:
            yield box, client

    return jupyter


@pytest.fixture
def common(shared: Shared) -> Jupyter:
    """Opens a client of the Jupyter server in a sandbox that tests share."""

    @contextlib.asynccontextmanager
    async def common() -> AsyncIterator[tuple[Box, Notebook]]:
        box = await shared.box("python-jupyter", memory_mb=512, disk_mb=512)
        async with notebook(box.sandbox) as client:
            yield box, client
            for kernel_id in await client.kernels():
                _ = await client.http.delete(f"/api/kernels/{kernel_id}")

    return common


async def find_server(box: Box) -> str:
    """Return the process id of the Jupyter server: the first of its name."""
    named = "grep -l sandlot_jupyter /proc/[0-9]*/cmdline | cut -d/ -f3 | sort -n | head -n 1"
    server = (await box.shell(named)).stdout.decode().strip()
    assert server.isdecimal()
    return server


async def kill_server(box: Box) -> str:
    """Kill the Jupyter server; return its process id."""
    server = await find_server(box)
    assert (await box.shell(f"kill -9 {server}")).exit == Exit(0)
    return server


async def test_a_connection_waits_until_the_service_is_ready(jupyter: Jupyter) -> None:
    async with jupyter() as (_, client):
        specs = (await client.http.get("/api/kernelspecs")).json()
        assert set(specs["kernelspecs"]) == {"bash", "python3"}
        assert specs["default"] == "python3"


async def test_the_alias(jupyter: Jupyter) -> None:
    async with jupyter(template="code-runner-beta") as (_, client):
        assert await client.run(await client.start(), "40 + 2") == "42"


async def test_the_environment(jupyter: Jupyter) -> None:
    async with jupyter() as (box, _):
        names = "for name in python python3 pip; do command -v $name; done"
        result = await box.shell(f"{names}; touch /opt/jupyter/new")
        programs = b"".join(
            b"/opt/jupyter/bin/%s\n" % name for name in (b"python", b"python3", b"pip")
        )
        assert result.stdout == programs
        assert b"Read-only file system" in result.stderr
        result = await box.shell("head -n 1 $(command -v jupyter)")
        assert result.stdout == b"#!/opt/jupyter/bin/python3\n"
        result = await box.shell("ls -A ~; ls -A ~/.local")
        assert all(line.startswith(b".") or line == b"lib" for line in result.stdout.split())
        result = await box.python("import pandas, pyarrow, plotly; print('imported')")
        assert result.stdout == b"imported\n"


async def test_other_templates_have_no_service(open_box: OpenBox) -> None:
    async with open_box() as box:
        with pytest.raises(PortClosedError):
            _ = await box.sandbox.connect(PORT, asyncio.Protocol)
        assert (await box.shell("ls /opt/jupyter")).exit != Exit(0)


async def test_a_template_that_is_not_installed(
    open_box: OpenBox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sandlot.server.engine.local import environments

    monkeypatch.setattr(environments, "own_place", lambda: tmp_path)
    monkeypatch.setattr(environments, "_SYSTEM_PLACE", tmp_path)
    async with open_box() as box:
        assert set(box.engine.capabilities.missing) == {"python-jupyter", "code-runner-beta"}
        with pytest.raises(UnknownTemplateError, match="sandlot templates install python-jupyter"):
            _ = await box.engine.create(spec("other", template="code-runner-beta"))


async def test_the_environment_is_kept_while_it_is_used(
    open_box: OpenBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sandlot.server.engine.local import environments
    from sandlot.server.engine.local.templates import find_templates

    monkeypatch.setattr(environments, "_LONG", -1)
    templates = find_templates()
    templates.release()
    path = templates.present["python-jupyter"].environment
    assert path is not None
    async with open_box():
        assert not environments.is_disused(path)


async def test_the_service_comes_back(jupyter: Jupyter) -> None:
    async with jupyter() as (box, client):
        kernel_id = await client.start()
        pid = await client.run(kernel_id, "import os; os.getpid()")
        server = await kill_server(box)
        await box.until(f"! kill -0 {server}")
        assert await client.kernels() == []
        await box.until(f"! kill -0 {pid}")  # kernels end with the server that they had
        assert await client.run(await client.start(), "1 + 1") == "2"


async def test_variables_and_directory_of_a_sandbox(jupyter: Jupyter) -> None:
    code = "import os; os.environ['WORD'], os.environ['HOME'], os.getcwd()"
    async with jupyter(env={"WORD": "xyzzy"}, cwd="/tmp") as (_, client):
        assert await client.run(await client.start(), code) == "('xyzzy', '/home/user', '/tmp')"


async def test_the_kernel_in_reserve(jupyter: Jupyter) -> None:
    async with jupyter() as (box, client):
        assert await client.kernels() == []
        first = await client.start()
        assert await client.kernels() == [first]
        assert await client.run(first, "x = 1; __import__('os').getcwd()") == "'/home/user'"
        second = await client.start()
        assert "NameError" in await client.run(second, "x")
        assert sorted(await client.kernels()) == sorted([first, second])
        assert (await client.http.delete(f"/api/kernels/{first}")).status_code == 204
        assert await client.kernels() == [second]
        # The next one in reserve is there when nothing has happened for a while.
        await box.until("[ $(ls /tmp/.jupyter/kernel-*.json | wc -l) = 2 ]")
        assert await client.kernels() == [second]
        third = await client.start()
        assert third not in (first, second)
        assert "NameError" in await client.run(third, "x")


async def test_what_the_kernel_in_reserve_is_not_for(common: Jupyter) -> None:
    async with common() as (_, client):
        elsewhere = await client.start(path="/tmp")
        assert await client.run(elsewhere, "import os; os.getcwd()") == "'/tmp'"
        body = {
            "path": "/tmp/x.ipynb",
            "type": "notebook",
            "name": "x",
            "kernel": {"name": "python3"},
        }
        session = (await client.http.post("/api/sessions", json=body)).json()
        assert await client.run(session["kernel"]["id"], "import os; os.getcwd()") == "'/tmp'"


async def test_a_session_gets_the_kernel_in_reserve(jupyter: Jupyter) -> None:
    async with jupyter() as (_, client):
        body = {
            "path": "home/user/x",
            "type": "console",
            "name": "x",
            "kernel": {"name": "python3"},
        }
        session = (await client.http.post("/api/sessions", json=body)).json()
        assert await client.kernels() == [session["kernel"]["id"]]
        code = "import os; os.environ.get('JPY_SESSION_NAME')"
        assert await client.run(session["kernel"]["id"], code) == "", "it was there before"


async def test_bash(common: Jupyter) -> None:
    async with common() as (_, client):
        kernel_id = await client.start("bash")
        assert await client.run(kernel_id, "word=xyzzy") == ""
        assert (await client.run(kernel_id, "echo $word $0")).split() == ["xyzzy", "/usr/bin/bash"]


async def test_a_restarted_kernel(common: Jupyter) -> None:
    async with common() as (_, client):
        kernel_id = await client.start()
        before = await client.run(kernel_id, "x = 1; import os; os.getpid()")
        response = await client.http.post(f"/api/kernels/{kernel_id}/restart")
        assert response.status_code == 200
        assert "NameError" in await client.run(kernel_id, "x")
        assert await client.run(kernel_id, "import os; os.getpid()") != before


@pytest.mark.alone
async def test_a_kernel_that_dies(common: Jupyter) -> None:
    """It is noticed soon, and those who are connected meet the next one."""
    async with common() as (_, client):
        kernel_id = await client.start()
        async with client.channels(kernel_id) as socket:
            code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
            loop = asyncio.get_running_loop()
            began = loop.time()
            states = [
                message["content"].get("execution_state") async for message in execute(socket, code)
            ]
            assert states[-1] == "restarting"
            assert loop.time() - began < 2
            texts = [message["content"] async for message in execute(socket, "40 + 2")]
            assert {"text/plain": "42"} in [content.get("data") for content in texts]
        # While it is being started again it can be ended all the same.
        async with client.channels(kernel_id) as socket:
            _ = [message async for message in execute(socket, code)]
            assert (await client.http.delete(f"/api/kernels/{kernel_id}")).status_code == 204


async def test_memory_runs_out(jupyter: Jupyter) -> None:
    async with jupyter(memory_mb=256) as (box, client):
        server = await find_server(box)
        kernel_id = await client.start()
        worse = "int(open('/proc/self/oom_score_adj').read())"
        usual = int((await box.shell("cat /proc/self/oom_score_adj")).stdout)
        assert int(await client.run(kernel_id, worse)) == min(usual + 300, 1000)
        async with client.channels(kernel_id) as socket:
            code = "hog = []\nwhile True: hog.append(b'x' * (1 << 20))"
            last = [message["content"] async for message in execute(socket, code)][-1]
        assert last.get("execution_state") in ("restarting", "idle"), "killed, or MemoryError"
        assert await find_server(box) == server
        assert await client.run(kernel_id, "40 + 2") == "42"


async def test_an_interrupted_cell(common: Jupyter) -> None:
    async with common() as (_, client):
        kernel_id = await client.start()
        async with client.channels(kernel_id) as socket:
            code = "import subprocess; print('there', flush=True); subprocess.run(['sleep', '600'])"
            texts: list[str] = []
            async for message in execute(socket, code):
                texts.append(
                    message["content"].get("text") or message["content"].get("ename") or ""
                )
                if texts[-1] == "there\n":
                    url = f"/api/kernels/{kernel_id}/interrupt"
                    assert (await client.http.post(url)).status_code == 204
        assert "KeyboardInterrupt" in texts


async def test_plots(common: Jupyter) -> None:
    async with common() as (_, client):
        code = "import matplotlib.pyplot as plt; plt.plot([1, 3, 2]); plt.show()"
        async with client.channels(await client.start()) as socket:
            messages = [message["content"] async for message in execute(socket, code)]
        (picture,) = (
            content["data"] for content in messages if "image/png" in content.get("data", {})
        )
        assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")


async def test_kernels_have_nothing_of_the_interpreter_they_were_forked_from(
    common: Jupyter,
) -> None:
    code = (
        "import os, signal, sys, threading; (sys.path[:2] + [sys.flags.isolated, __name__],"
        " signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL, os.getsid(0) == os.getpid(),"
        " len(os.listdir('/proc/self/fd')) < 64)"
    )
    async with common() as (_, client):
        text = await client.run(await client.start(), code)
        assert "0, '__main__'], True, True, True)" in " ".join(text.split())
        assert "jupyter_server" not in await client.run(
            await client.start(), "import sys; [m for m in sys.modules if 'server' in m]"
        )


def wheel(name: str, version: str, requires: str = "numpy") -> bytes:
    """Return a package of one module."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = f"{name}-{version}.dist-info"
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: {requires}\n",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


async def test_packages_are_installed_into_the_home_directory(jupyter: Jupyter) -> None:
    async with jupyter() as (box, client):
        for version in ("1.0", "2.0"):
            await box.write(f"toy-{version}-py3-none-any.whl", wheel("toy", version))
        await box.write("six-99.0-py3-none-any.whl", wheel("six", "99.0"))
        kernel_id = await client.start()
        said = await client.run(kernel_id, "%pip install ./toy-1.0-py3-none-any.whl")
        assert "Successfully installed toy-1.0" in said
        assert await client.run(kernel_id, "import toy; toy.version") == "'1.0'"
        said = await client.run(kernel_id, "%pip install ./toy-2.0-py3-none-any.whl")
        assert "Successfully uninstalled toy-1.0" in said
        # One that the environment has, too: the newer one comes first.
        said = await client.run(kernel_id, "%pip install ./six-99.0-py3-none-any.whl")
        assert "Successfully installed six-99.0" in said
        result = await box.python("import six, toy; print(six.version, toy.version, toy.__file__)")
        version, again, path = result.stdout.decode().split()
        assert (version, again) == ("99.0", "2.0")
        assert path.startswith("/home/user/.local/")


async def test_packages_without_a_network(common: Jupyter) -> None:
    async with common() as (box, client):
        said = await client.run(await client.start(), "%pip install requests")
        assert "This sandbox has no network" in said
        assert "No matching distribution" in said
        assert "Retrying" not in said
        assert b"no network" not in (await box.shell("pip list")).stderr


async def test_two_sandboxes_share_no_randomness(jupyter: Jupyter) -> None:
    code = (
        "import random, uuid, numpy; (random.random(), uuid.uuid4(), numpy.random.random(),"
        " hash('x'))"
    )
    async with jupyter() as (box, client):
        one = await client.run(await client.start(), code)
        two = await client.run(await client.start(), code)
        other = await box.engine.create(spec("other", template="python-jupyter", memory_mb=512))
        async with notebook(other) as client:
            three = await client.run(await client.start(), code)
    drawn = [[word.strip() for word in text.strip("()").split(",")] for text in (one, two, three)]
    assert len({word for words in drawn for word in words[:3]}) == 9
    assert drawn[0][3] != drawn[2][3], "the same seed of hashes"


async def test_a_pause_while_the_service_starts(jupyter: Jupyter) -> None:
    async with jupyter() as (box, client):
        await box.sandbox.pause()
        await box.sandbox.resume()
        assert await client.run(await client.start(), "1 + 1") == "2"


def test_the_sources_are_those_that_are_installed() -> None:
    """What the tests above have run is what is in the tree."""
    from sandlot.server.engine.local.recipes import RECIPES
    from sandlot.server.engine.local.templates import find_templates

    templates = find_templates()
    templates.release()
    path = templates.present["python-jupyter"].environment
    assert path is not None
    (installed,) = path.glob("lib/python*/site-packages/sandlot_jupyter")
    for source in RECIPES[0].source.glob("*.py"):
        assert (installed / source.name).read_bytes() == source.read_bytes()
    assert json.loads((path / "sandlot-template.json").read_text())["name"] == "python-jupyter"
    assert os.stat(path).st_mode & 0o055 == 0o055
