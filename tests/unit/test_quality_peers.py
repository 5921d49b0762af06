"""Peers of the bench run in an environment and a process of their own, and tell nobody of it."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.quality.peers import environment
from bench.quality.peers.environment import ask
from bench.quality.table import NotRun

ROWS = {"one": np.arange(3.0), "other": np.array([1.0, np.nan, 2.0])}

Child = Callable[[str], None]


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """Makes the script of a peer called ``small``, which runs in this interpreter."""
    monkeypatch.setattr(environment, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(environment, "FOLDER", tmp_path)

    def make(text: str) -> None:
        (tmp_path / "small_child.py").write_text(
            f"import json, os, pathlib, sys\nfolder = pathlib.Path(sys.argv[1])\n{text}\n"
        )

    return make


def test_a_peer_gets_the_rows_and_the_question_and_its_answer_comes_back(child: Child) -> None:
    child(
        "import numpy as np\n"
        "rows = np.load(folder / 'live.npz')\n"
        "told = json.loads((folder / 'question.json').read_text())\n"
        "answer = {'sum': float(np.nansum(rows['one'] + rows['other'])), 'asked': told['ask']}\n"
        "(folder / 'answer.json').write_text(json.dumps(answer))"
    )

    assert ask("small", {"ask": "sum"}, live=ROWS) == {"sum": 5.0, "asked": "sum"}


def test_a_peer_is_told_to_send_nothing_and_sees_no_settings(child: Child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTD_SLACK_BOT_TOKEN", "xoxb-secret")
    child("(folder / 'answer.json').write_text(json.dumps(dict(os.environ)))")

    seen = ask("small", {})

    assert seen["DO_NOT_TRACK"] == seen["NML_DISABLE_USAGE_LOGGING"] == "1"
    assert "xoxb-secret" not in json.dumps(seen)


def test_a_peer_that_fails_is_not_run_and_says_why(child: Child) -> None:
    child("raise ValueError('no such column')")

    with pytest.raises(NotRun, match=r"small failed: .*ValueError: no such column"):
        ask("small", {})


def test_without_the_environment_it_says_what_makes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "PYTHON", tmp_path / "none")

    with pytest.raises(NotRun, match="make peers"):
        ask("nannyml", {})


@pytest.mark.parametrize("peer", ["evidently", "nannyml"])
def test_the_peers_name_the_column_that_moves(peer: str) -> None:
    if not environment.PYTHON.is_file():
        pytest.skip("no environment of the peers: make peers")
    rng = np.random.default_rng(5)
    reference = {name: rng.normal(size=6_000) for name in ("still", "moves")}
    live = {"still": rng.normal(size=1_000), "moves": rng.normal(1.0, size=1_000)}
    question = {"ask": "drift", "chunk_rows": 1_000, "categories": []}

    told = ask(peer, question, reference=reference, live=live)

    assert len(told["columns"]) == 1
    assert "moves" in told["columns"][0]
