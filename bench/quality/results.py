"""What was measured, kept in a file a table, so that pages are made of it and tables are measured one by one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.quality.table import Row

KEPT = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a table, and how they came about."""

    table: str
    size: str
    command: str
    date: str
    seconds: float
    machine: str
    versions: dict[str, str]
    rows: list[Row]


class Results:
    """A folder of results."""

    def __init__(self, folder: Path = KEPT) -> None:
        self.folder = folder

    def of(self, table: str) -> Result | None:
        """What is known of a table; None where it was not measured yet."""
        path = self._path(table)
        return Result(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def keep(self, result: Result) -> None:
        """Keep it, in place of what was there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self._path(result.table).with_suffix(".part")
        part.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
        part.replace(self._path(result.table))

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.json"
