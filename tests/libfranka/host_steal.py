"""What the host of a virtual machine keeps of the cores' time: an arm that stands still for 20 ms is stopped, through no fault of anything here."""

import threading
import time
from pathlib import Path


def ticks():
    """Of all cores so far: those that the host kept, and all."""
    counts = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return counts[7], sum(counts)


class HostWatch:
    """Looks each second, from its making on."""

    def __init__(self, read=ticks, period_s=1.0):
        self._read, self._period_s, self._over = read, period_s, threading.Event()
        self._first = self._last = read()
        self._worst, self._when = 0.0, ""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def look(self):
        """One second's look."""
        before, self._last = self._last, self._read()
        kept, passed = self._last[0] - before[0], self._last[1] - before[1]
        if passed and kept / passed > self._worst:
            self._worst, self._when = kept / passed, f" at {time.strftime('%H:%M:%S')}"

    def _watch(self):
        while not self._over.wait(self._period_s):
            self.look()

    def end(self):
        """In words, what it came to."""
        self._over.set()
        self._thread.join()
        self.look()
        kept, passed = self._last[0] - self._first[0], self._last[1] - self._first[1]
        return f"{100 * kept / max(passed, 1):.1f} % of the cores' time, in the worst second {100 * self._worst:.0f} %{self._when}"
