"""Ear Teacher: forecast, train and diagnose image VAEs on ear photos.

from ear_teacher import EarTeacher
teacher = EarTeacher.load("models/current")
features = teacher.features(["left.jpg", "right.jpg"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ear_teacher.teacher import EarTeacher

__all__ = ["EarTeacher"]


def __getattr__(name: str) -> Any:
    # Imported when asked for: torch takes seconds, and most of the package does without the teacher.
    if name == "EarTeacher":
        from ear_teacher.teacher import EarTeacher

        return EarTeacher
    raise AttributeError(f"module 'ear_teacher' has no attribute {name!r}")
