"""The trained encoder as something others load."""

from ear_teacher.teacher.inputs import Picture
from ear_teacher.teacher.pyramid import Features
from ear_teacher.teacher.teacher import EarTeacher

__all__ = ["EarTeacher", "Features", "Picture"]
