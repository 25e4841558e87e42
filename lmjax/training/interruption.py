"""Ctrl-C and SIGTERM become a request that the loop honours between steps: save, say how to go on, end."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Interruption:
    """Context manager; `requested` names the signal that arrived. A second signal ends the program at once."""

    def __init__(self) -> None:
        self.requested = ''
        self._old: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._old[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number).name

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
