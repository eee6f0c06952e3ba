"""What signals mean to the zygote, to its forks and to the agents."""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["default_signals", "listen_for_signals", "stop_listening"]

_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)


def default_signals() -> None:
    """Undo what an interpreter or whoever started it did to signals."""
    _ = signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            _ = signal.signal(number, signal.SIG_DFL)
    _ = signal.pthread_sigmask(signal.SIG_SETMASK, ())


def listen_for_signals() -> int:
    """Ignore what would end this process; return a descriptor that has data when a child ended."""
    wakeup, alarm = os.pipe()
    os.set_blocking(wakeup, False)
    os.set_blocking(alarm, False)
    _ = signal.signal(signal.SIGCHLD, _wake)
    _ = signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    for number in _IGNORED:
        _ = signal.signal(number, signal.SIG_IGN)
    return wakeup


def stop_listening() -> None:
    """Undo `listen_for_signals` in a fork; what came before that is not looked at again."""
    _ = signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, *_IGNORED):
        _ = signal.signal(number, signal.SIG_DFL)


def _wake(_: int, __: FrameType | None) -> None:
    """Let the signal only write to the wakeup descriptor."""
