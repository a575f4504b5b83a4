"""What functions log, whole. Loaded by `launch_emulator`.

Things that AWS does and MiniStack 1.5.33 does not:

- An invocation's log has all that the handler wrote. MiniStack stops reading 5 ms after the last line that it
  saw, or after 50 ms without any, and a line that comes later waits for the worker's next invocation.
- FilterLogEvents goes on from its nextToken. MiniStack gives the oldest 10,000 events, and no more (API
  reference of CloudWatch Logs, FilterLogEvents, read on 27 November 2026).
"""

import json
import queue
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

Pinned = Callable[..., Callable[..., Any]]

PAGE = 10_000
"""Events in one answer, at most."""

END = "\x00end of the invocation"
"""The worker's last line about an invocation. It is in no log."""

PATIENCE = 5.0
"""Seconds that a worker has for its last lines, once it has answered."""

_HANDLED = "            result = handler_fn(event, context)\n"
_ANSWERS = '        except Exception as e:\n            _real_stdout.write(json.dumps({"status": "error"'


def install(pinned: Pinned) -> None:
    """Install them. `pinned` finds a function and stops where it has changed."""
    mark_the_end()
    read_to_the_end(pinned)
    page_through_logs(pinned)


def mark_the_end() -> None:
    """Let a Python worker say that it has written everything, before it answers."""
    runtime: Any = import_module("ministack.core.lambda_runtime")
    script: str = runtime._PYTHON_WORKER_SCRIPT
    if script.count(_HANDLED) != 1 or script.count(_ANSWERS) != 1:
        sys.exit("the emulator's worker script has changed, and this launcher must follow")
    mark = f"            print({END!r}, file=sys.stderr, flush=True)\n"
    before, after = _ANSWERS.split("\n", 1)
    runtime._PYTHON_WORKER_SCRIPT = script.replace(_HANDLED, _HANDLED + mark).replace(
        _ANSWERS, f"{before}\n{mark}{after}"
    )


def read_to_the_end(pinned: Pinned) -> None:
    """Take a Python worker's lines up to that mark."""
    worker: Any = import_module("ministack.core.lambda_runtime").Worker
    waits = ("first_line_wait", "idle_confirm", "hard_cap")
    drain = pinned(worker, "_drain_stderr_bounded", "self", *waits)

    def drain_to_the_end(
        self: Any, first_line_wait: float = 0.05, idle_confirm: float = 0.005, hard_cap: float = 0.25
    ) -> str:
        if not self.config.get("Runtime", "python").startswith("python"):
            rest: str = drain(self, first_line_wait, idle_confirm, hard_cap)
            return rest
        lines: list[str] = []
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            alive = self._stderr_thread.is_alive()
            try:
                line: str = self._stderr_queue.get(timeout=0.05)
            except queue.Empty:
                if alive:
                    continue
                break  # It died: no more will come.
            lines.append(line.removesuffix(END))
            if line.endswith(END):
                break
        return "\n".join(lines).removesuffix("\n")

    worker._drain_stderr_bounded = drain_to_the_end


def page_through_logs(pinned: Pinned) -> None:
    """Give a group's events in pages."""
    launcher: Any = import_module("__main__")  # `within`
    logs: Any = import_module("ministack.services.cloudwatch_logs")
    search = launcher.within(pinned(logs, "_filter_log_events", "data"), min=lambda *_: sys.maxsize)

    def filter_log_events(data: dict[str, Any]) -> Any:
        status, headers, text = search(data)
        if status != 200:
            return status, headers, text
        found, start = json.loads(text)["events"], int(data.get("nextToken") or 0)
        end = start + min(data.get("limit") or PAGE, PAGE)
        more = {"nextToken": str(end)} if end < len(found) else {}
        return logs.json_response({"events": found[start:end], "searchedLogStreams": [], **more})

    logs._filter_log_events = filter_log_events
