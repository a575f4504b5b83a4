"""The stand, once for all of these tests."""

from stand.fixtures import stand

__all__ = ["stand"]
