"""What a server that is nobody can do; run as such by `test_death.py`.

Arguments: data directory, program with attempts to escape, address and port of a server. Prints
what it found as a JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from ipaddress import ip_network
from pathlib import Path

from sandlot.server.engine import make_engine
from sandlot.server.engine.base import Command, Engine, SandboxHandle, SandboxSpec

BOMB = """
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        count += 1
except OSError:
    print(count, flush=True)
os._exit(0)
"""

REACH = """
import socket, sys
print(socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(10).decode())
for address in "127.0.0.1", "169.254.169.254":
    print(socket.socket().connect_ex((address, int(sys.argv[2]))) != 0)
"""


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def run(sandbox: SandboxHandle, *argv: str) -> list[object]:
    process = await sandbox.spawn(Command(argv))
    output = b""
    while (piece := await process.read()) is not None:
        output += piece.data
    exit = await process.wait()
    await process.kill()
    await process.close()
    return [exit.code, exit.signal, output.decode()]


async def change_tree(sandbox: SandboxHandle) -> list[str]:
    """Do with files what forks of the agent do, and return what is there then."""
    tree = sandbox.tree
    _ = await tree.make_directory("tree/a")
    await write(sandbox, "tree/a/f", b"x")
    _ = await tree.copy("tree", "copy", overwrite=False)
    _ = await tree.move("tree/a", "copy/b", overwrite=False)
    reader, archive = await tree.pack("copy"), b""
    while piece := await reader.read(1 << 18):
        archive += piece
    await reader.close()
    writer = await tree.extract("out")
    await writer.write(archive)
    await writer.commit()
    await tree.remove("copy/b")
    return [entry.path for place in ("copy", "out") for entry in await tree.list(place, 9, 99)]


async def write(sandbox: SandboxHandle, path: str, data: bytes) -> None:
    writer = await sandbox.open_writer(path)
    await writer.write(data)
    await writer.commit()


async def go_back_and_forth(engine: Engine) -> list[object]:
    """Capture, begin with that, change, compare and go back; return what was seen."""
    origin = await engine.create(SandboxSpec("origin", "minimal", 1, 64, 8))
    _ = await run(
        origin, "sh", "-c", "mkdir d c; echo 1 > d/1; echo 1 > c/1; chmod 0 c; echo a > a"
    )
    size = await (await origin.snapshot("s"))
    fork = await engine.create(SandboxSpec("fork", "minimal", 1, 64, 8, snapshot="s"))
    look = "cat a; ls d; stat -c %a c; chmod 700 c; cat c/1"
    seen: list[object] = [size.total_bytes > 0, (await run(fork, "sh", "-c", look))[2]]
    _ = await run(fork, "sh", "-c", "rm -r d; mkdir d; echo b > b; echo more >> a")
    seen.append([(each.kind, each.path) for each in (await fork.changes("s")).changes])
    seen.append((await run(origin, "sh", "-c", look))[2])
    await fork.rollback("s")
    seen.append((await run(fork, "sh", "-c", look))[2])
    for sandbox in (origin, fork):
        await engine.destroy(sandbox.id)
    await engine.delete_snapshot("s")
    return [*seen, await engine.snapshots()]


async def main(data_dir: Path, escapes: bytes) -> None:
    engine = make_engine("local", data_dir, outbound_allow=[ip_network(sys.argv[3])])
    await engine.start()
    capabilities = engine.capabilities
    found: dict[str, object] = {
        "private_uid": capabilities.private_uid,
        "memory": capabilities.limits.memory,
        "pids": capabilities.limits.pids,
        "pause": capabilities.pause,
        "level": capabilities.level,
    }
    sandbox = await engine.create(SandboxSpec("box", "base-python", 1, 64, 8))
    other = await engine.create(SandboxSpec("other", "minimal", 1, 64, 8))
    found["id"] = await run(sandbox, "id")
    facts = {"secret": "no secret", "marker": "no marker", "port": 1, "abstract": "no socket"}
    facts["directory"] = str(data_dir)
    found["tree"] = await change_tree(sandbox)
    await write(sandbox, "facts", json.dumps(facts).encode())
    await write(sandbox, "escapes.py", escapes)
    result = await run(sandbox, "sh", "-c", "python3 escapes.py < facts")
    found["escapes"] = json.loads(str(result[2]))
    process = await sandbox.spawn(Command(["python3", "-c", BOMB]))
    output = await process.read()
    found["bomb"] = output is not None and int(output.data)
    found["neighbour"] = await run(other, "sh", "-c", "echo $(echo alive)")
    await process.kill()
    await process.close()
    found["hog"] = (await run(sandbox, "python3", "-c", "x = b'x' * (100 << 20)"))[0]
    process = await sandbox.spawn(Command(["sleep", "600"]))
    await sandbox.pause()
    stat = f"/proc/{process.pid}/stat"
    found["paused"] = (await sandbox.usage()).cpu_seconds == (await sandbox.usage()).cpu_seconds
    await sandbox.resume()
    found["resumed"] = str((await run(sandbox, "cat", stat))[2]).split(") ")[1][0]
    await process.close()
    _ = await run(sandbox, "sh", "-c", "mkdir -p a/b; echo x > a/b/c; chmod 0 a/b a")
    found["snapshots"] = [capabilities.snapshot, await go_back_and_forth(engine)]
    way = await engine.create(SandboxSpec("way", "base-python", 1, 64, 8, network="outbound"))
    found["network"] = list(capabilities.network)
    found["reached"] = await run(way, "python3", "-c", REACH, *sys.argv[3:])
    await engine.destroy("way")
    await engine.destroy("box")
    found["left"] = os.listdir(data_dir / "sandboxes")
    await engine.close()
    found["after"] = [sorted(os.listdir(data_dir)), children()]
    print(json.dumps(found))


asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
