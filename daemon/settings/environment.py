"""From environment variables, secret files and systemd credentials to one text for each setting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from daemon.settings.errors import Problem
from daemon.settings.names import PREFIX, Name, Names

CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
TESTS: Final = f"{PREFIX}TEST_"
"""Variables of the test suite: none of the daemon's business."""


@dataclass
class Given:
    """What was given: a text and where it came from for each variable, and what is wrong so far."""

    texts: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def take(self, name: Name, text: str, source: str) -> None:
        """Note one value; a second one for the same variable is a problem."""
        if name.variable in self.texts:
            hint = f"given twice, by {self.sources[name.variable]} and by {source}: keep one"
            self.problems.append(Problem(name.variable, None, "", hint))
        elif text:  # an empty variable is one that is not set
            self.texts[name.variable] = text
            self.sources[name.variable] = source


def read(environ: Mapping[str, str], names: Names) -> Given:
    """Everything that ``environ`` gives: its own variables, the files they name, and the credentials beside it."""
    given = Given()
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(TESTS):
            continue
        name = names.find(variable)
        if name is not None:
            given.take(name, text, "environment")
            continue
        name = names.find(variable.removesuffix("_FILE")) if variable.endswith("_FILE") else None
        if name is not None and name.secret:
            if text:
                _read_file(given, name, variable, Path(text))
        elif name is not None:
            hint = f"only a secret is read from a file: set {name.variable}"
            given.problems.append(Problem(variable, None, "", hint))
        else:
            given.problems.append(_unknown(variable, names))
    folder = environ.get(CREDENTIALS)
    if folder:
        _read_credentials(given, names, Path(folder))
    return given


def _read_file(given: Given, name: Name, variable: str, path: Path) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "not UTF-8 text"
        given.problems.append(Problem(variable, str(path), "a readable file that holds the secret", str(reason)))
        return
    text = text.removesuffix("\n").removesuffix("\r")
    if text:
        given.take(name, text, f"file {path}")
    else:
        given.problems.append(Problem(variable, str(path), "a readable file that holds the secret", "it is empty"))


def _read_credentials(given: Given, names: Names, folder: Path) -> None:
    """Systemd's LoadCredential: a file named after the variable, in lower case, its prefix optional."""
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as failure:
        given.problems.append(Problem(CREDENTIALS, str(folder), "a readable folder", str(failure.strerror)))
        return
    for path in files:
        ours = path.name.upper().startswith(PREFIX)
        name = names.find(path.name.upper() if ours else PREFIX + path.name.upper())
        if name is not None and name.secret:
            _read_file(given, name, f"{CREDENTIALS}/{path.name}", path)
        elif ours:
            given.problems.append(_unknown(path.name.upper(), names))


def _unknown(variable: str, names: Names) -> Problem:
    """Its value is not shown: it may be a secret under a misspelt name."""
    everywhere = names.daemon_wide(variable)
    if everywhere is not None:
        return Problem(variable, None, "", f"not a setting of a single model: set {everywhere} for the whole daemon")
    nearest = get_close_matches(variable.upper(), names.candidates(variable), n=1, cutoff=0.0)
    return Problem(variable, None, "", f"no such setting; the nearest is {nearest[0]}")
