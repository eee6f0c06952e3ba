"""Installing a template, from the package index that the tests were installed from."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import sandlot
from sandlot.server.engine.local import environments, installation
from sandlot.server.engine.local.environments import find_environment, hold, is_disused, is_whole
from sandlot.server.engine.local.installation import InstallationError, install
from sandlot.server.engine.local.interpreter import Interpreter, find_interpreter
from sandlot.server.engine.local.recipes import RECIPES
from sandlot.server.engine.local.templates import find_templates

from .test_jupyter import wheel

(RECIPE,) = RECIPES
COMMAND = str(Path(sys.executable).with_name("sandlot"))


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="sandlot-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the template consist of one small package, which no network is needed for."""
    _ = (tmp_path / "toy-1.0-py3-none-any.whl").write_bytes(wheel("toy", "1.0", "toy"))
    recipe = replace(
        RECIPE, requirements=("toy",), modules=("toy.py",), finish=[("-c", "import toy")]
    )
    monkeypatch.setattr(installation, "RECIPES", (recipe,))
    for name in ("UV_NO_CONFIG", "UV_NO_INDEX", "PIP_NO_INDEX"):
        monkeypatch.setenv(name, "1")
    for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, str(tmp_path))


def interpreter() -> Interpreter:
    found = find_interpreter()
    assert found is not None
    return found


def silent(_: str) -> None:
    """Say nothing."""


def left(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def processor_time() -> float:
    """Return the seconds that programs which have ended have had."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_two_at_once_and_what_comes_of_it(place: Path) -> None:
    """The real template, by two users of the command line, into a directory that is not there."""
    templates = place / "deep" / "templates"
    command = [COMMAND, "templates", "install", "python-jupyter", "--dir", str(templates)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, umask=0o077) for _ in "ab"]
    said = [run.communicate(timeout=100)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sum("Waiting for another installation..." in text for text in said) == 1
    assert sum("Installing python-jupyter: " in text for text in said) == 1
    (name,) = (name for name in left(templates) if name != ".lock")
    path = find_environment(RECIPE, interpreter(), templates)
    assert path == templates / name
    for entry in [templates, *path.rglob("*")]:
        mode = entry.lstat().st_mode
        assert mode & 0o004 or entry.is_symlink(), entry
        assert mode & 0o001 or not entry.is_dir(), entry
    for script in (path / "bin").iterdir():
        if not script.is_symlink():
            assert str(templates) not in script.read_text(), script
    kernel = json.loads((path / "share/jupyter/kernels/bash/kernel.json").read_text())
    assert kernel["argv"][0] == "/opt/jupyter/bin/python3"
    listed = subprocess.run(
        [COMMAND, "templates", "list", "--dir", str(templates)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(rf"^code-runner-beta +{path}$", listed, re.MULTILINE)
    before = processor_time()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stderr == f"python-jupyter is installed already, in {path}\n"
    assert processor_time() - before < 3


@pytest.mark.usefixtures("toy")
def test_a_broken_one_is_built_anew(place: Path) -> None:
    path = install("python-jupyter", place, silent)
    (module,) = path.glob("lib/*/site-packages/toy.py")
    assert is_whole(path)
    shutil.rmtree(path / "lib")
    assert not is_whole(path)
    assert install("code-runner-beta", place, silent) == path
    assert module.read_text() == "version = '1.0'\n"
    (path / "sandlot-template.json").write_text("nonsense")
    assert not is_whole(path)
    assert install("python-jupyter", place, silent) == path
    assert left(place) == [".lock", path.name]


@pytest.mark.usefixtures("toy")
def test_what_an_interrupted_one_has_left(place: Path) -> None:
    (place / ".python-jupyter-abandoned" / "lib").mkdir(parents=True)
    path = install("python-jupyter", place, silent)
    assert left(place) == [".lock", path.name]


@pytest.mark.usefixtures("toy")
def test_an_interrupted_one_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(installation, "_relocate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _ = install("python-jupyter", place, silent)
    assert left(place) == [".lock"]


@pytest.mark.usefixtures("toy")
def test_disused_ones_are_removed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "_LONG", 100)
    paths = [place / f"python-jupyter-{name}" for name in ("held", "disused", "recent")]
    for path in paths:
        path.mkdir()
        _ = (path / "sandlot-template.json").write_text("{}")
        os.utime(path / "sandlot-template.json", (0, 0) if path.name[-1] == "d" else None)
    lock = hold(paths[0])
    assert lock is not None
    os.utime(paths[0] / "sandlot-template.json", (0, 0))
    try:
        assert [is_disused(path) for path in paths] == [False, True, False]
        path = install("python-jupyter", place, silent)
        assert left(place) == sorted([".lock", path.name, paths[0].name, paths[2].name])
    finally:
        os.close(lock)
    assert hold(paths[1]) is None, "it is gone"


def test_another_interpreter_recipe_or_source_is_another_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = RECIPE.digest(interpreter())
    others = {
        RECIPE.digest(Interpreter(Path("/usr/bin/true"), "/usr/bin/true", True)),
        replace(RECIPE, requirements=(*RECIPE.requirements, "toy")).digest(interpreter()),
        replace(RECIPE, files={}).digest(interpreter()),
        replace(RECIPE, package="sandlot.server.services").digest(interpreter()),
    }
    assert mine == RECIPE.digest(interpreter())
    assert len(others | {mine}) == 5


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("program", ["uv", "pip"])
def test_without_the_other_installer(
    place: Path, program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whichever there is does it; settings that would put packages elsewhere are ignored."""
    uv = shutil.which("uv")
    if program == "uv" and uv is None:
        pytest.skip("there is no uv")
    monkeypatch.delenv("UV", raising=False)
    path = f"{Path(uv).parent}:{os.defpath}" if program == "uv" and uv else "/nowhere"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    if program == "pip" and not has_pip(str(interpreter().program)):
        pytest.skip("there is no pip")
    environment = install("python-jupyter", place, silent)
    assert list(environment.glob("lib/*/site-packages/toy.py"))
    assert not (tmp_path / "elsewhere").exists()


def has_pip(python: str) -> bool:
    done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.usefixtures("toy")
def test_without_any_installer(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    real = subprocess.run

    def run(command: list[str], **options: object) -> object:
        if "pip" in command:
            return subprocess.CompletedProcess(command, 1)
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(installation.subprocess, "run", run)
    with pytest.raises(InstallationError, match=r"neither uv nor pip .* pip install uv"):
        _ = install("python-jupyter", place, silent)
    assert left(place) == [".lock"]


@pytest.mark.usefixtures("toy")
def test_without_a_network(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("UV_NO_INDEX", "PIP_NO_INDEX", "UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")  # the discard service
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    for name, value in (
        ("UV_HTTP_RETRIES", "0"),
        ("PIP_RETRIES", "0"),
        ("PIP_CONFIG_FILE", os.devnull),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(InstallationError, match="Is a package index within reach") as caught:
        _ = install("python-jupyter", place, silent)
    assert "127.0.0.1" in str(caught.value), "it says what was said"
    assert left(place) == [".lock"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a small disk")
def test_a_full_disk(place: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be made here")
    try:
        with pytest.raises(InstallationError, match="The disk is full: a template needs about"):
            _ = install("python-jupyter", place, silent)
        assert left(place) == [".lock"]
    finally:
        _ = subprocess.run(["umount", str(place)], check=True)


def test_a_directory_that_cannot_be_used(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(InstallationError, match="cannot be used: Not a directory"):
        _ = install("python-jupyter", place / "file", silent)


@pytest.mark.skipif(os.getuid() != 0, reason="sandboxes have users of their own for root only")
def test_a_directory_that_sandboxes_cannot_enter(place: Path) -> None:
    place.chmod(0o700)
    with pytest.raises(InstallationError, match=r"is closed to them.*chmod a\+x"):
        _ = install("python-jupyter", place / "new" / "templates", silent)
    assert left(place) == []


def test_a_template_that_there_is_not(place: Path) -> None:
    with pytest.raises(InstallationError, match="'minimal' to install; there are: python-jupyter"):
        _ = install("minimal", place, silent)


def test_no_interpreter(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "find_interpreter", lambda: None)
    with pytest.raises(InstallationError, match="install Python for all users"):
        _ = install("python-jupyter", place, silent)


def test_an_interpreter_that_sandboxes_see_elsewhere(tmp_path: Path) -> None:
    """What is shown as /opt/python is found there by the environment."""
    host = Interpreter(Path("/root/pythons/bin/python3"), "/opt/python/bin/python3", True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(host.program)
    (tmp_path / "bin/python").symlink_to("python3")
    cached = tmp_path / "cached"
    _ = cached.write_text(f"#!{tmp_path}/bin/python3\n")
    cached.chmod(0o755)
    (tmp_path / "bin/tool").hardlink_to(cached)
    _ = (tmp_path / "pyvenv.cfg").write_text(
        f"home = {host.program.parent}\ncommand = {tmp_path}\n"
    )
    installation._relocate(tmp_path, host)
    assert (tmp_path / "bin/python3").readlink() == Path("/opt/python/bin/python3")
    assert (tmp_path / "bin/python").readlink() == Path("python3")
    assert (tmp_path / "bin/tool").read_text() == "#!/opt/jupyter/bin/python3\n"
    assert (tmp_path / "bin/tool").stat().st_mode & 0o777 == 0o755
    assert cached.read_text() == f"#!{tmp_path}/bin/python3\n", "others have it too"
    assert (
        tmp_path / "pyvenv.cfg"
    ).read_text() == "home = /opt/python/bin\ncommand = /opt/jupyter\n"


@pytest.mark.parametrize("chosen", [True, False])
def test_where_templates_are_searched(
    place: Path, chosen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "_SYSTEM_PLACE", place / "system")
    monkeypatch.setattr(environments, "own_place", lambda: place / "own")
    directory = place / ("chosen" if chosen else "system")
    path = environments.environment_path(directory, RECIPE, interpreter())
    path.mkdir(parents=True)
    _ = (path / "sandlot-template.json").write_text('{"files": []}')
    templates = find_templates(place / "chosen")
    templates.release()
    assert templates.present["python-jupyter"].environment == path
    assert templates.canonical("code-runner-beta") == "python-jupyter"
    assert templates.missing == {}
    assert find_templates().missing.keys() == (set(RECIPE.names) if chosen else set())


def test_it_needs_nothing_of_the_server() -> None:
    """The command line can install templates with the extra `cli` alone."""
    program = (
        "import sys; import sandlot.server.engine.local.installation as i;"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {wanted}))"
    ).replace("{wanted}", "{'fastapi', 'uvicorn', 'sqlalchemy', 'structlog', 'pydantic_settings'}")
    env = {"PYTHONPATH": str(Path(sandlot.__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
