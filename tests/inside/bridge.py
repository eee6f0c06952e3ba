"""Run by a template's own Python: a kernel, whose messages go over pipes as the server frames them.

Standard input has requests, standard output answers; each is preceded by its length in four bytes.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import threading
from typing import Any

from jupyter_client.manager import KernelManager
from jupyter_server.services.kernels.connection import base


def main(framed: bool, kernel: str) -> None:
    manager = KernelManager(kernel_name=kernel)
    manager.kernel_spec.argv[0] = sys.executable  # in sandboxes it has another path
    manager.start_kernel(stdout=subprocess.DEVNULL)  # ours is the wire
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    lock = threading.Lock()

    def tell(channel: str) -> None:
        while True:
            message = getattr(client, f"{channel}_channel").get_msg()
            data = frame(message, channel)
            with lock:
                sys.stdout.buffer.write(struct.pack(">I", len(data)) + data)
                sys.stdout.buffer.flush()

    def frame(message: dict[str, Any], channel: str) -> bytes:
        session = client.session
        if framed:
            parts = ("header", "parent_header", "metadata", "content")
            packed = [*(session.pack(message[part]) for part in parts), *message["buffers"]]
            return base.serialize_msg_to_ws_v1(packed, channel)
        whole = {**message, "channel": channel}
        if message.get("buffers"):
            return base.serialize_binary_message(whole)
        return json.dumps({**whole, "buffers": []}, default=base.json_default).encode()

    sys.stdout.buffer.write(struct.pack(">I", 0))
    sys.stdout.buffer.flush()
    for channel in ("shell", "iopub"):
        threading.Thread(target=tell, args=(channel,), daemon=True).start()
    try:
        while head := sys.stdin.buffer.read(4):
            data = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
            if data == b"interrupt":
                manager.interrupt_kernel()
                continue
            if framed:
                channel, parts = base.deserialize_msg_from_ws_v1(data)
                header, parent, metadata, content = (json.loads(part) for part in parts[:4])
            else:
                whole = json.loads(data)
                header, parent = whole["header"], whole["parent_header"]
                metadata, content = whole["metadata"], whole["content"]
            message = {
                "header": header,
                "msg_id": header["msg_id"],
                "msg_type": header["msg_type"],
                "parent_header": parent,
                "metadata": metadata,
                "content": content,
            }
            client.session.send(client.shell_channel.socket, message)
    finally:
        manager.shutdown_kernel(now=True)


main(sys.argv[1] == "framed", sys.argv[2])
