"""The shells that the component's job runs in, as parameters of a fixture."""

from typing import Final

import pytest

from stand.shells import SHELLS

EACH_SHELL: Final = [
    pytest.param(shell, marks=() if shell == "dash" else pytest.mark.extended) for shell in SHELLS
]
"""`make test` takes the one that knows the least beyond POSIX, `make test-all` and CI take every one."""
