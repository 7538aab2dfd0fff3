"""Found landmarks as their user gets them."""

import json
from pathlib import Path

import numpy as np

from ear_teacher.teacher.predictions import write_predictions


def test_predictions_say_what_their_numbers_are(tmp_path: Path) -> None:
    points = np.array([[[1.23456, 2], [3, 4]], [[5, 6], [7, 8]]], dtype=np.float32)
    path = tmp_path / "out.json"
    write_predictions(path, ["a", "b"], ["x.jpg", "y.jpg"], [(64, 48), (9, 9)], points, [None, (1, 2, 3, 4)])
    content = json.loads(path.read_text())
    assert "upper left pixel" in content["coordinates"]
    assert content["names"] == ["a", "b"]
    assert content["pictures"][0] == {
        "file": "x.jpg", "width": 64, "height": 48, "box": None, "points": [[1.235, 2.0], [3.0, 4.0]],
    }  # fmt: skip
    assert content["pictures"][1]["box"] == [1, 2, 3, 4]
