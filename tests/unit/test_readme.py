"""What the README says of the tree is so."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_every_folder_and_file_that_the_readme_names_is_there() -> None:
    named = re.findall(r"`((?:daemon|detectors|retrain|systemd|tests|bench|docs)/[\w/.-]*)`", README)
    named += [link for link in re.findall(r"\]\(([\w./-]+)\)", README) if "://" not in link]

    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_package_of_the_daemon_is_in_the_readme_or_speaks_for_itself() -> None:
    packages = {path.parent.name for path in (ROOT / "daemon").glob("*/__init__.py")}
    told = {name for name in packages if f"daemon/{name}/" in README}

    assert packages - told <= {"commands", "demo", "settings"}
