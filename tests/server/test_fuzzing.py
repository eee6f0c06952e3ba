"""The server keeps to `openapi.yaml`, whatever it is sent: schemathesis tries both.

    make fuzz                                  ten minutes of it, other data each time
    SANDLOT_FUZZING_SECONDS=3600 make fuzz     that long

What may be refused though no schema says so, and why: `fuzzing/refusals.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from contract import Contract
from harness import ServerProcess
from people import People

HERE = Path(__file__).parent
CONTRACT = HERE.parents[1] / "internal" / "api" / "openapi.yaml"
SECONDS = int(os.environ.get("SANDLOT_FUZZING_SECONDS", "60"))
DATA = (
    ["--seed", str(int.from_bytes(os.urandom(4)))]
    if "SANDLOT_FUZZING_SECONDS" in os.environ
    else ["--generation-deterministic"]
)


@pytest.mark.timeout(600 + 2 * SECONDS)
def test_the_server_keeps_to_its_contract(tmp_path: Path, contract: Contract) -> None:
    server = ServerProcess(tmp_path / "data", signup="open")
    people = People(server, contract)
    try:
        owner = people.sign_up("Owner")
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={HERE / 'fuzzing' / 'schemathesis.toml'}",
            *("run", str(CONTRACT), "--url", server.url, "--no-color"),
            *("--max-time", str(SECONDS), *DATA),
        ]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join((str(HERE / "fuzzing"), *sys.path)),
            "SCHEMATHESIS_HOOKS": "hooks",
            "SANDLOT_FUZZING_TEAM": owner.team,
            "SANDLOT_FUZZING_TOKEN": owner.token,
        }
        run = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert not [line for line in server.lines if "exception" in line]
        # Who asked for all that may still ask.
        assert owner.client.get("/v1/sandboxes").status_code == 200
    finally:
        people.close()
        assert server.stop() == 0
