"""Conversations over a WebSocket, without the socket: messages in, events out."""
