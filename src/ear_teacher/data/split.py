"""Who trains, who validates, who tests. The rule depends on one person (or photo) at a time."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from ear_teacher.config import SplitConfig, UserError

SPLITS = ("train", "val", "test")


def residue(person: str, file: str, modulus: int) -> int:
    """What the rule goes by: a whole-number id itself, any other id (or the photo) hashed; mod `modulus`."""
    if person.isascii() and person.isdigit() and len(person) <= 18:
        return int(person) % modulus
    return int(hashlib.sha256((person or file).encode("utf-8", "surrogateescape")).hexdigest(), 16) % modulus


def split_of(person: str, file: str, config: SplitConfig) -> str:
    """`train`, `val` or `test` by the person's id, or by the photo's name where the person is not known (``""``)."""
    rest = residue(person, file, config.modulus)
    return "test" if rest in config.test else "val" if rest in config.val else "train"


def assign(
    files: Sequence[str], persons: Sequence[str], origins: Sequence[str], config: SplitConfig
) -> tuple[list[str], int]:
    """Assign every picture to a split; no person is in two.

    Args:
        files: name of each picture.
        persons: its person's id, `""` where not known.
        origins: `train` or `held_out` where the user gave two files, else `""`. Held-out pictures are halved
            between val and test. A person who stands in both files is held out as a whole.
        config: the rule where the user gave none.

    Returns:
        The split of each picture; the number of pictures of the training file that were held out with their person.

    Raises:
        UserError: a split is left empty.
    """
    held_out = {person for person, origin in zip(persons, origins, strict=True) if origin == "held_out" and person}
    splits, moved = [], 0
    for file, person, origin in zip(files, persons, origins, strict=True):
        if not origin:
            splits.append(split_of(person, file, config))
        elif origin == "train" and person not in held_out:
            splits.append("train")
        else:
            moved += origin == "train"
            splits.append("test" if residue(person, file, 2) else "val")
    found = Counter(splits)
    for name in SPLITS:
        if not found[name]:
            people = len(set(filter(None, persons)))
            among = f"{people} people" if people else f"{len(files)} pictures"
            if any(origins) and name == "train":
                way_out = "everybody in data.train_npy is also in data.val_npy: leave data.val_npy out"
            else:
                way_out = "change data.split, add people, or split by photo with data.person_regex: '(.*)'"
            raise UserError(f"The {name} split is empty ({among}): {way_out}.")
    return splits, moved
