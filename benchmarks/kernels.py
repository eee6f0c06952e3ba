"""A kernel on this machine without anything around it, to hold our own against.

The library that notebooks use, `jupyter_client`, is run by the interpreter of the template, and
talks to a kernel of the same environment.
"""

from __future__ import annotations

import contextlib
import json
import math
import statistics
import subprocess
import tempfile
from collections.abc import Generator

from benchmarks.report import Row
from sandlot.server.engine.local.templates import find_templates

TEMPLATE = "python-jupyter"

PEER = """
import base64, json, sys, time
from jupyter_client.manager import KernelManager

manager = KernelManager(kernel_name="python3")
manager.start_kernel(extra_arguments=["--log-level=ERROR"])
client = manager.client()
client.start_channels()
client.wait_for_ready(timeout=60)

def run(code):
    request = client.execute(code)
    pieces = []
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != request:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            pieces.append(content["text"])
        elif kind == "execute_result":
            data = content["data"]
            picture = data.get("image/png")
            pieces.append(data["text/plain"] if picture is None else base64.b64decode(picture))
        elif kind == "status" and content["execution_state"] == "idle":
            break
    while client.get_shell_msg(timeout=60)["parent_header"].get("msg_id") != request:
        pass
    return type(pieces[0])().join(pieces) if pieces else ""

print(manager.provisioner.pid, flush=True)
for line in sys.stdin:
    began = time.perf_counter()
    shown = run(json.loads(line))
    print(json.dumps([time.perf_counter() - began, len(shown)]), flush=True)
manager.shutdown_kernel(now=True)
"""


class Peer:
    """A kernel on the host, and `jupyter_client`.

    Attributes:
        kernel_pid: Process of the kernel.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout
        self.kernel_pid = int(self._stdout.readline())

    def run(self, code: str) -> tuple[float, int]:
        """Run code; return how many seconds it took and how much it showed."""
        _ = self._stdin.write(json.dumps(code) + "\n")
        self._stdin.flush()
        seconds, size = json.loads(self._stdout.readline())
        return seconds, size


@contextlib.contextmanager
def peer() -> Generator[Peer]:
    """Start a kernel on the host."""
    environment = find_templates().present[TEMPLATE].environment
    assert environment is not None
    with tempfile.TemporaryDirectory() as home:
        python = environment / "bin" / "python3"
        with subprocess.Popen(
            [python, "-c", PEER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=home,
            env={"HOME": home, "PATH": f"{environment}/bin:/usr/bin:/bin"},
        ) as process:
            yield Peer(process)


def compared(
    what: str, ours: list[float], limit: list[float], against: str, goal: float | None = None
) -> Row:
    """Return the medians of seconds, in milliseconds, with the quartiles of both."""
    mine, other = statistics.median(ours) * 1000, statistics.median(limit) * 1000
    return Row(what, mine, other, "ms", f"{against}; {spread(ours)}, {spread(limit)}", goal)


def spread(seconds: list[float]) -> str:
    """Return the quartiles in milliseconds, with three digits at most."""
    low, _, high = statistics.quantiles(seconds, n=4)
    digits = max(0, 2 - int(math.log10(high * 1000)))
    return f"{low * 1000:.{digits}f}-{high * 1000:.{digits}f}"
