"""The stand: all of Sluicegate on one machine, on an AWS emulator, with a stand-in GitLab."""

from stand.api import HANDLER, Stand, package
from stand.issuer import Issuer
from stand.say import StandError

__all__ = ["HANDLER", "Issuer", "Stand", "StandError", "package"]
