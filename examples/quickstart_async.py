"""Run a program from a stranger on real data, with asyncio.

python examples/quickstart_async.py
"""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sandlot import (
    AsyncClient,
    CodeEndEvent,
    CodeStdoutEvent,
    StreamExitEvent,
    StreamStderrEvent,
    StreamStdoutEvent,
)

DATA = Path(__file__).parent / "data"


@contextmanager
def timed(step: str) -> Generator[None]:
    """Print how long a step took."""
    started = time.perf_counter()
    yield
    print(f"  {step:<22} {(time.perf_counter() - started) * 1000:8.1f} ms", flush=True)


async def main() -> None:
    """Create, wait, upload, run, stream, download, destroy."""
    print("asyncio:")
    client = AsyncClient.local()
    with timed("start the server"):
        await client.health()
    async with client:
        isolation = (await client.capabilities()).isolation
        print(f"  isolation: {isolation.level}, {', '.join(isolation.namespaces or ['none'])}")
        with timed("create"):
            sandbox = await client.sandboxes.create(template="base-python")
        async with sandbox:
            with timed("wait_ready"):
                await sandbox.wait_ready()
            with timed("upload"):
                await asyncio.gather(
                    sandbox.upload("penguins.csv", (DATA / "penguins.csv").read_bytes()),
                    sandbox.upload("stranger.py", (DATA / "stranger.py").read_bytes()),
                )
            with timed("exec"):
                result = await sandbox.exec("wc -l penguins.csv", check=True)
            print(f"  | {result.stdout.strip()}")
            with timed("exec_stream"):
                async with sandbox.exec_stream(
                    ["python3", "stranger.py", "penguins.csv", "result.csv"]
                ) as stream:
                    async for event in stream:
                        match event:
                            case StreamStdoutEvent(data=text):
                                print("  |", text.rstrip().replace("\n", "\n  | "), flush=True)
                            case StreamStderrEvent(data=text):
                                print("  ! the stranger", text.rstrip(), flush=True)
                            case StreamExitEvent(exit_code=code):
                                print(f"  | exit code {code}")
                            case _:
                                pass
            with timed("download"):
                table = (await sandbox.download("result.csv")).decode()
            print("  | " + table.strip().replace("\n", "\n  | "))
            with timed("destroy"):
                await sandbox.destroy()
        async with client.sandboxes.create("python-jupyter") as notebook:
            with timed("run_code, the first"):
                await notebook.run_code("import asyncio")
            with timed("run_code, the next"):
                execution = await notebook.run_code("await asyncio.sleep(0.1, 'slept')")
            print(f"  | {execution.text}")
            with timed("run_code_stream"):
                async for news in notebook.run_code_stream("for i in range(3): print(i)\ni"):
                    match news:
                        case CodeStdoutEvent(text=text):
                            print("  |", text.rstrip().replace("\n", "\n  | "), flush=True)
                        case CodeEndEvent(execution=execution):
                            print(f"  | value {execution.text}")
                        case _:
                            pass


if __name__ == "__main__":
    asyncio.run(main())
