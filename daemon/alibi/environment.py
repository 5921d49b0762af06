"""Where the environment of alibi-detect is, what runs in it, and what is wrong with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from daemon.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.alibi.process import Process

SCRIPT: Final = Path(__file__).with_name("child.py")
PREFIX: Final = "alibi_"
"""Of the registry names of its detectors."""
WITH_TENSORFLOW: Final = frozenset({"alibi_mmd", "alibi_lsdd"})
MADE: Final = Path(__file__).resolve().parents[2] / ".venv-alibi" / "bin" / "python"
"""The interpreter of the environment that `make alibi` makes, in a clone."""
RELEASES: Final = ("0.11.", "0.12.")
"""Releases whose online detectors are like those of 0.11.4."""
HELLO_SECONDS: Final = 120.0
"""For the imports, on a machine that does much else."""
HINT: Final = "make alibi, or set DRIFTD_ALIBI__PYTHON to an interpreter that has alibi-detect 0.11.4"


@dataclass(frozen=True, slots=True)
class Environment:
    """How its processes are started: with which interpreter, how much memory, and whether with TensorFlow."""

    python: Path
    memory_mb: int
    tensorflow: bool
    script: Path = SCRIPT

    def start(self, started: "Callable[[Process], None]" = lambda _: None) -> "Process":
        """A process that has said hello; ``started`` is told of it before. Raises ChildFailed with what to type."""
        from daemon.alibi.process import ChildFailed, Process, Refused

        if not self.python.is_file():
            raise ChildFailed(f"there is no {self.python}: {HINT}")
        backend = "tensorflow" if self.tensorflow else "plain"
        process = Process([str(self.python), "-I", str(self.script), str(self.memory_mb), backend])
        started(process)
        try:
            version = str(process.ask({"op": "hello"}, HELLO_SECONDS).get("alibi_detect"))
        except (ChildFailed, Refused) as failed:
            process.kill()
            raise ChildFailed(f"{self.python} has no working alibi-detect ({failed}): {HINT}") from None
        except BaseException:
            process.kill()
            raise
        if not version.startswith(RELEASES):
            process.kill()
            raise ChildFailed(f"{self.python} has alibi-detect {version}, and 0.11.4 is needed: {HINT}")
        return process


def is_wanted(settings: Settings) -> bool:
    """Whether any model is to be watched by alibi-detect."""
    return any(name.startswith(PREFIX) for name in _chosen(settings))


def environment(settings: Settings) -> Environment:
    """What the settings ask for."""
    own = settings.alibi
    return Environment(own.python or MADE, own.memory_mb, bool(_chosen(settings) & WITH_TENSORFLOW))


def _chosen(settings: Settings) -> set[str]:
    return {one.name for model in (settings, *settings.models.values()) for one in model.detectors}


def examine(found: Environment) -> str | None:
    """Try it out. Returns what is wrong, and what to type; None where nothing is."""
    from daemon.alibi.process import ChildFailed

    try:
        found.start().kill()
    except ChildFailed as failed:
        return str(failed)
    return None
