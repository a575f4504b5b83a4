"""The figures of one `make bench`, for tools: a flat JSON object from name to number."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PATH: Final = Path(__file__).parents[1] / "build" / "bench.json"


def record(figures: Mapping[str, float]) -> None:
    """Add figures to the file, by dotted names that end in the unit, such as `release.lambda_update_s`."""
    known: dict[str, float] = json.loads(PATH.read_text()) if PATH.exists() else {}
    known |= {name: round(value, 4) for name, value in figures.items()}
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
