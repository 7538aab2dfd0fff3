"""Pretrained weights: where they come from, and the proof that they are what was published."""

from ear_teacher.weights.sources import digest, load_trunk, obtain, write_manifest

__all__ = ["digest", "load_trunk", "obtain", "write_manifest"]
