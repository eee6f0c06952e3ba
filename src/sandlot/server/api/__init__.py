"""HTTP and WebSocket on one side, services on the other; no logic of its own."""
