"""`python -m stand COMMAND`: what the Makefile's targets run."""

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from stand import control, places
from stand.api import Stand
from stand.say import StandError, fail, say


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m stand", description="The stand: Sluicegate on one machine."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the stand, or deploy what changed to the running one")
    up.add_argument("--gate-file", type=Path, default=environment_path("GATE_FILE"))
    commands.add_parser("down", help="end it, with everything that it started")
    token = commands.add_parser("token", help="print a job's ID token")
    token.add_argument(
        "--claims", default=os.environ.get("CLAIMS") or "{}", help="JSON; null leaves a claim out"
    )
    invoke = commands.add_parser(
        "invoke", help="sam local invoke with a fresh token, against the running stand"
    )
    invoke.add_argument("event", nargs="?", default=os.environ.get("EVENT", ""))
    traffic = commands.add_parser("traffic", help="send requests to a function by its alias' weights")
    traffic.add_argument("function")
    traffic.add_argument("alias")
    traffic.add_argument("--rate", type=float, default=10, help="requests a second (10), at most 50")
    commands.add_parser("demo", help="play the main job, from nothing to nothing")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended, as on Ctrl-C
    try:
        match options.command:
            case "up":
                control.up(options.gate_file)
            case "down":
                control.down()
                if not places.WORKER:
                    control.end_workers()
            case "token":
                say(Stand.running().token(**claims(options.claims)))
            case "invoke":
                from stand.invoke import invoke as run

                return run(options.event)
            case "traffic":
                from stand.traffic import show

                show(Stand.running(), options.function, options.alias, rate=options.rate)
            case "demo":
                from stand.demo import demo

                return demo()
    except StandError as error:
        fail(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


def environment_path(name: str) -> Path | None:
    value = os.environ.get(name)
    return Path(value) if value else None


def claims(text: str) -> dict[str, object]:
    try:
        given = json.loads(text)
    except ValueError as error:
        raise StandError(f"CLAIMS is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise StandError("CLAIMS is not a JSON object")
    return given


if __name__ == "__main__":
    sys.exit(main())
