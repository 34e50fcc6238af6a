"""Run folders that somebody else made: whatever they hold, no command reaches beyond them."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REFUSED = re.compile("is a link|is not in its folder")
COMMANDS = [
    ("report", "taken"),
    ("resume", "taken"),
    ("compare", "run", "taken"),
    ("compare", "taken", "run"),
    ("export", "taken", "--out", "set"),
]


def names_elsewhere(run: Path, secret: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["outputs"]["../secret/file"] = {"bytes": 1, "sha256": "0" * 64}
    (run / "manifest.json").write_text(json.dumps(manifest))


def link_instead(run: Path, name: str, to: Path) -> None:
    place = run / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    place.symlink_to(to)


TRICKS: dict[str, Callable[[Path, Path], None]] = {
    "names elsewhere": names_elsewhere,
    "links what a writer overwrites": lambda run, to: link_instead(run, ".lock-holder", to),
    "links what a writer truncates": lambda run, to: link_instead(run, ".lock", to),
    "links a table": lambda run, to: link_instead(run, "predictions.parquet", to),
    "links a page": lambda run, to: link_instead(run, "report.html", to),
    "links all folds": lambda run, to: link_instead(run, "folds", to.parent),
    "links one fold": lambda run, to: link_instead(run, "folds/0000", to.parent),
}


def test_a_folder_that_leads_elsewhere_is_refused_by_every_command(
    gpucv: Any, study: Path, tmp_path: Path
) -> None:
    assert gpucv("run", study, "--out", "run").code == 0
    taken, secret = tmp_path / "taken", tmp_path / "secret" / "file"
    secret.parent.mkdir()
    shutil.copytree(tmp_path / "run", taken)
    assert not [words for words in COMMANDS if REFUSED.search(gpucv(*words).err)]
    shutil.rmtree(taken)
    for trick, play in TRICKS.items():
        shutil.copytree(tmp_path / "run", taken)
        secret.write_text("do not touch")
        play(taken, secret)
        for words in COMMANDS:
            outcome = gpucv(*words)
            (told,) = [line for line in outcome.err.splitlines() if "error" in line]
            assert outcome.code == 3, (trick, words, outcome)
            assert REFUSED.search(told), (trick, words, told)
        assert gpucv("ls", ".").code == 0
        assert secret.read_text() == "do not touch", trick
        assert [path.name for path in secret.parent.iterdir()] == ["file"], trick
        assert not (tmp_path / "set").exists()
        shutil.rmtree(taken)
