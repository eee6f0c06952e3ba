"""What grows with use, and what must not."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import psutil
from harness import Box, ServerProcess, eventually

MIB = 1 << 20


def test_many_commands_cost_nothing_in_the_end(server: ServerProcess, box: Box) -> None:
    process = psutil.Process(server.process.pid)

    def round(_: int) -> None:
        assert box.sh("echo x; sleep 0.01 &")["exit_code"] == 0
        with box.stream() as stream:
            stream.send(json.dumps({"type": "start", "cmd": "true"}))
            assert len(list(stream)) == 2
        assert box.write("f", b"x").status_code == 204

    with ThreadPoolExecutor(4) as pool:
        _ = list(pool.map(round, range(40)))  # pools and caches fill up
        before = process.num_fds(), len(process.children(recursive=True))
        memory = process.memory_info().rss
        _ = list(pool.map(round, range(400)))
    assert process.memory_info().rss - memory < 8 * MIB
    eventually(
        lambda: (
            process.num_fds() <= before[0] + 1
            and len(process.children(recursive=True)) <= before[1]
        )
    )
