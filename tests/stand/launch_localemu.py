"""Start LocalEmu without a container engine. Run by its own interpreter, as a script.

Functions are made, published and described, and none runs: the step that prepares a container is left out.
"""

import sys
from importlib import import_module
from typing import Any


def main() -> None:
    executor: Any = import_module("localemu.services.lambda_.invocation.docker_runtime_executor")
    containers = executor.DockerRuntimeExecutor
    containers.prepare_version = classmethod(lambda *_: None)
    containers.cleanup_version = classmethod(lambda *_: None)
    containers.validate_environment = classmethod(lambda _: True)
    sys.argv = ["localemu"]
    import_module("localemu.runtime.main").main()


if __name__ == "__main__":
    main()
