"""Deleting what hostile code left behind."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import pytest

from sandlot.server.guest import removal

USER = 64_998


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    tree.mkdir()
    return tree


def test_files_of_all_kinds(tree: Path) -> None:
    _ = (tree / "file").write_text("x")
    (tree / "link").symlink_to("/nonexistent")
    os.mkfifo(tree / "fifo")
    (tree / "directory").mkdir()
    _ = (tree / os.fsdecode(b"\xff\n")).write_text("x")
    removal.remove_tree(str(tree))
    assert not tree.exists()


def test_what_is_not_there(tree: Path) -> None:
    removal.remove_tree(str(tree / "missing"))
    removal.remove_tree(str(tree / "missing/below"))
    assert tree.exists()


def test_a_link_or_file_is_removed_itself(tree: Path) -> None:
    (tree / "target").mkdir()
    (tree / "link").symlink_to("target")
    removal.remove_tree(str(tree / "link"))
    assert sorted(os.listdir(tree)) == ["target"]


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    _ = (outside / "file").write_text("precious")
    (tree / "directory").symlink_to(outside)
    (tree / "deep").mkdir()
    (tree / "deep/link").symlink_to(outside / "file")
    removal.remove_tree(str(tree))
    assert (outside / "file").read_text() == "precious"


@pytest.mark.parametrize("depth", [99, 100, 101, 350, 3000])
def test_deep_trees(tree: Path, depth: int) -> None:
    back = os.open(".", os.O_RDONLY)
    try:
        os.chdir(tree)
        for _ in range(depth):
            os.mkdir("d")
            os.chdir("d")
        _ = Path("bottom").write_text("x")
    finally:
        os.fchdir(back)
        os.close(back)
    before = len(os.listdir("/proc/self/fd"))
    removal.remove_tree(str(tree))
    assert not tree.exists()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("mode", [0, 0o400, 0o100, 0o500])
def test_closed_directories(mode: int) -> None:
    """As an ordinary user: root is not stopped by modes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        tree = Path(name) / "tree"
        inner = tree / "closed/inner"
        inner.mkdir(parents=True)
        _ = (inner / "file").write_text("x")
        if os.getuid() == 0:
            for place in (tree, tree / "closed", inner, inner / "file"):
                os.chown(place, USER, USER)
        for place in (inner, tree / "closed", tree):
            place.chmod(mode)
        pid = os.fork()
        if pid == 0:
            try:
                if os.getuid() == 0:
                    os.setresuid(USER, USER, USER)
                removal.remove_tree(str(tree))
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert not tree.exists()


def test_removal_races(tree: Path) -> None:
    """Two removals at once, and somebody who makes new things meanwhile."""
    for number in range(300):
        (tree / str(number)).mkdir()
        _ = (tree / str(number) / "file").write_text("x")
    failures: list[OSError] = []

    def remove() -> None:
        try:
            removal.remove_tree(str(tree))
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=remove) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert not tree.exists()
