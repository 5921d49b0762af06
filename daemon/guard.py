"""Makes sure at start that the code which runs is driftd's own.

The packages are called ``daemon``, ``detectors`` and ``retrain``, and another distribution may bring a package of one
of these names (python-daemon does): then whichever was installed last has overwritten files of the other.
"""

import json
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

DISTRIBUTION: Final = "driftd"
PACKAGES: Final = ("daemon", "detectors", "retrain")
REMEDY: Final = "Install driftd into a virtual environment of its own, with nothing else in it."


class ForeignPackage(RuntimeError):
    """Another distribution has a package that driftd needs by the same name: give driftd its own environment."""


def check_packages() -> None:
    """Raise ForeignPackage where ``daemon``, ``detectors`` or ``retrain`` is not driftd's. Imports none of them."""
    others = owners(distributions())
    if others:
        said = ", ".join(f"{name} has a package called {package!r}" for package, name in others)
        raise ForeignPackage(f"{said}, which is also driftd's. {REMEDY}")
    home = Path(__file__).resolve().parent.parent
    for package in PACKAGES:
        found = _folder(package)
        if found != home / package:
            raise ForeignPackage(f"{package!r} comes from {found}, and driftd runs from {home}. {REMEDY}")
    ours = [_home(one) for one in distributions(name=DISTRIBUTION)]
    if ours and home not in ours:
        raise ForeignPackage(f"driftd is installed in {ours[0]}, and runs from {home}. {REMEDY}")


def owners(installed: Iterable[Distribution]) -> list[tuple[str, str]]:
    """The other distributions that have one of driftd's packages: (package, distribution)."""
    found = set()
    for one in installed:
        # the lists of files as they are: parsing them all would cost a third of a second at every start
        record = "\n" + (one.read_text("RECORD") or "")
        tops = (one.read_text("top_level.txt") or "").split()
        taken = [package for package in PACKAGES if f"\n{package}/" in record or package in tops]
        if taken and one.name.lower() != DISTRIBUTION:
            found |= {(package, one.name) for package in taken}
    return sorted(found)


def _home(ours: Distribution) -> Path:
    """The folder that holds the packages: the source tree, where it was installed to be edited."""
    origin = json.loads(ours.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return Path(unquote(urlsplit(origin["url"]).path)).resolve()
    return Path(str(ours.locate_file(""))).resolve()


def _folder(package: str) -> Path | None:
    spec = find_spec(package)
    return Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
