"""What the stand changes about MiniStack's workers, Lambda's execution environments: each ends alone.

When a worker dies while it starts, MiniStack ends all workers of that function, and deletes the files of
those that have just begun to serve. On AWS an environment that fails ends, and no other (Lambda developer
guide, "Understanding the Lambda execution environment lifecycle", read on 2026-11-27).
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def install(pinned: Callable[..., Any]) -> None:
    lambda_: Any = import_module("ministack.services.lambda_svc")
    runtime: Any = import_module("ministack.core.lambda_runtime")
    invalidate = pinned(lambda_, "invalidate_worker", "func_name", "qualifier", "account", "region")
    kill = pinned(runtime, "kill_workers", "workers")

    def invalidate_worker(
        func_name: str, qualifier: str | None = None, account: str | None = None, region: str | None = None
    ) -> None:
        # Both places that ask for it because of a failure have the worker that failed in this variable.
        failed = sys._getframe(1).f_locals.get("worker") if sys.exc_info()[0] else None
        if failed is None:
            invalidate(func_name, qualifier, account, region)
            return
        with runtime._lock:
            for workers in runtime._workers.values():
                if failed in workers:
                    workers.remove(failed)
        kill([failed])

    lambda_.invalidate_worker = invalidate_worker
