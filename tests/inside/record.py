"""Record what a real kernel says, for tests that need none: `python -m tests.inside.record`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from sandlot._protocols.kernel import Message, execute_request
from tests.inside.kernels import Kernel

PLACE = Path(__file__).parents[1] / "protocols" / "recorded_cells.json"
CELLS = {
    "value": "6 * 7",
    "prints": (
        "import sys\nprint('a', flush=True)\nprint('b', file=sys.stderr, flush=True)\nprint('c')"
    ),
    "error": (
        "def f(): raise KeyError('x')\ntry: f()\nexcept KeyError as e: raise ValueError('y') from e"
    ),
    "syntax": "1 +",
    "display": (
        "from IPython.display import display, HTML\nh = display(HTML('<b>1</b>'), display_id='d')"
    ),
    "update": "h.update(HTML('<b>2</b>'))",
    "update own": "g = display('x', display_id='g'); print('y'); g.update('z')",
    "clear": "from IPython.display import clear_output\nprint('a'); clear_output(); print('b')",
    "clear later": "print('a'); clear_output(wait=True); print('b')",
    "clear at last": "print('a'); clear_output(wait=True)",
    "help": "len?",
    "input": "input()",
    "thread": (
        "import threading, time\n"
        "def late():\n    time.sleep(0.3); print('late', flush=True)\n"
        "threading.Thread(target=late).start()"
    ),
    "nothing": "",
    "progress": "for i in range(3): print(f'\\r{i}', end='', flush=True)",
}


def main(python: str) -> None:
    kernel = Kernel(Path(python))
    recorded: dict[str, Any] = {}
    for name, code in CELLS.items():
        request = execute_request(code, kernel.talk.session)
        _ = kernel.perform(request)
        recorded[name] = [plain(request), *map(plain, kernel.messages)]
        if name == "thread":
            recorded["late"] = [plain(kernel.receive())]
    request = execute_request(
        "", kernel.talk.session, silent=True, user_expressions={"a": "6 * 7", "b": "1 / 0"}
    )
    _ = kernel.perform(request)
    recorded["questions"] = [plain(request), *map(plain, kernel.messages)]
    first = execute_request("1 / 0", kernel.talk.session)
    second = execute_request("2", kernel.talk.session)
    kernel.send(first)
    _ = kernel.perform(second)
    recorded["aborted"] = [plain(second), *map(plain, kernel.messages)]
    kernel.close()
    own = str(Path(python).parents[1])
    _ = PLACE.write_text(json.dumps(recorded, indent=1).replace(own, "/opt/jupyter") + "\n")


def plain(message: Message) -> dict[str, Any]:
    return {
        "channel": message.channel,
        "type": message.type,
        "id": message.id,
        "parent_id": message.parent_id,
        "session": message.session,
        "content": message.content,
    }


if __name__ == "__main__":
    main(sys.argv[1])
