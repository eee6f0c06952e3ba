"""Run a program from a stranger on real data, blocking.

python examples/quickstart.py
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sandlot import Client, StreamExitEvent, StreamStderrEvent, StreamStdoutEvent

DATA = Path(__file__).parent / "data"


@contextmanager
def timed(step: str) -> Generator[None]:
    """Print how long a step took."""
    started = time.perf_counter()
    yield
    print(f"  {step:<22} {(time.perf_counter() - started) * 1000:8.1f} ms", flush=True)


def main() -> None:
    """Create, wait, upload, run, stream, download, destroy."""
    print("blocking:")
    with timed("start the server"):
        client = Client.local()
    with client:
        isolation = client.capabilities().isolation
        print(f"  isolation: {isolation.level}, {', '.join(isolation.namespaces or ['none'])}")
        with timed("create"):
            sandbox = client.sandboxes.create(template="base-python")
        with sandbox:
            with timed("wait_ready"):
                sandbox.wait_ready()
            with timed("upload"):
                sandbox.upload("penguins.csv", (DATA / "penguins.csv").read_bytes())
                sandbox.upload("stranger.py", (DATA / "stranger.py").read_bytes())
            with timed("exec"):
                result = sandbox.exec("wc -l penguins.csv", check=True)
            print(f"  | {result.stdout.strip()}")
            with (
                timed("exec_stream"),
                sandbox.exec_stream(
                    ["python3", "stranger.py", "penguins.csv", "result.csv"]
                ) as stream,
            ):
                for event in stream:
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
                table = sandbox.download("result.csv").decode()
            print("  | " + table.strip().replace("\n", "\n  | "))
            with timed("destroy"):
                sandbox.destroy()
        with timed("create with Jupyter"):
            notebook = client.sandboxes.create("python-jupyter")
        with notebook:
            notebook.upload("penguins.csv", (DATA / "penguins.csv").read_bytes())
            with timed("run_code, the first"):
                notebook.run_code("import csv; rows = list(csv.DictReader(open('penguins.csv')))")
            with timed("run_code, the next"):
                execution = notebook.run_code("len(rows)")
            print(f"  | {execution.text} penguins")
            with timed("run_code that raises"):
                execution = notebook.run_code("rows[1000]")
            print(f"  | {execution.error}")
            with timed("run_code, 0.5 s at most"):
                execution = notebook.run_code("while True: pass", timeout=0.5)
            print(f"  | interrupted: {execution.timed_out}, state lost: {execution.state_lost}")
            print(f"  | still {notebook.run_code('len(rows)').text} penguins")


if __name__ == "__main__":
    main()
