"""What a killed writer left is cleared by the next one; what a living one writes is not."""

import os
import subprocess
import sys
from pathlib import Path

from ear_teacher.files import whole_folder, write_atomically


def test_the_next_writer_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in (f".a[1].csv.{dead.pid}.abcdefgh", f".a[1].csv.{os.getpid()}.abcdefgh", ".a[1].csv.mine", ".other"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".set.{dead.pid}.abcdefgh").mkdir()
    (tmp_path / f".set.{dead.pid}.abcdefgh/half").write_text("half")
    write_atomically(tmp_path / "a[1].csv", "whole")
    with whole_folder(tmp_path / "set") as folder:
        (folder / "file").write_text("whole")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([f".a[1].csv.{os.getpid()}.abcdefgh", ".a[1].csv.mine", ".other", "a[1].csv", "set"])
    assert (tmp_path / "a[1].csv").read_text() == "whole"
