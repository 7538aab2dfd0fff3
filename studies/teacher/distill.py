"""PYTHONPATH=src python studies/teacher/distill.py
PYTHONPATH=src python studies/teacher/distill.py --time        # milliseconds a picture on one core, printed

Train a small student with the teacher, and the same one without: written to
models/student and studies/teacher/metrics/distill.json.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

import torch
from subjects import HERE, PREPARED, params, rounded
from tqdm import tqdm

from ear_teacher.data import PreparedData, to_tensor
from ear_teacher.files import whole_folder, write_atomically
from ear_teacher.metrics.statistics import paired_change, summarise
from ear_teacher.models import EarVAE
from ear_teacher.stage import run
from ear_teacher.teacher.distill import (
    Student,
    StudentConfig,
    export_student,
    onnx_difference,
    student_errors,
    student_imitation,
    teacher_maps,
    train_student,
)
from ear_teacher.teacher.fit import Marked
from ear_teacher.teacher.landmark_files import read_landmarks

OUT = Path("models/student")
RUNS = 200


def main() -> None:
    torch.set_num_threads(1)  # so that the results are the same on any number of cores
    if sys.argv[1:] == ["--time"]:
        print(f"{milliseconds(Student.load(OUT)):.1f} ms a picture on one core, one picture at a time")
        return
    given = params()["distil"]
    data = PreparedData.load(PREPARED)
    marks = read_landmarks(PREPARED / "landmarks55.csv")
    train, val, test = (Marked.of(data, marks, split) for split in ("train", "val", "test"))
    teacher = EarVAE.load("models/current").requires_grad_(False)
    maps = teacher_maps(teacher)
    config = StudentConfig(given["steps"], given["batch_size"], 0, given["lr"], given["imitation"])
    students = {}
    for name, weight in (("with", config.imitation), ("without", 0.0)):
        student = Student(given["student"], len(marks.names), maps, given["width"])
        bar = tqdm(desc=f"student {name} teacher", total=config.steps, unit="step")

        def told(step: int, nme: float, bar: tqdm = bar) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(val=f"{nme:.4f}")

        best = train_student(student, teacher, train, val, StudentConfig(**{**vars(config), "imitation": weight}), told)
        bar.close()
        students[name] = (student, best)
    errors = {name: student_errors(student, test) for name, (student, _) in students.items()}
    student = students["with"][0]
    with whole_folder(OUT) as folder:
        student.save(folder)
        export_student(student, folder / "student.onnx", data.image_size)
        difference = onnx_difference(student, folder / "student.onnx", to_tensor(test.images[:5]))
    content = {
        "student": given["student"], "parameters": sum(p.numel() for p in student.parameters()),
        "points": len(marks.names), "steps": config.steps, "pictures_seen": config.steps * config.batch_size,
        "onnx_difference": difference,
        "nme": {name: summarise(found, test.persons) for name, found in errors.items()},
        "val_nme": {name: best for name, (_, best) in students.items()},
        "change_by_teacher": paired_change(errors["without"], errors["with"], test.persons),
        "imitated": student_imitation(student, teacher, test),
    }  # fmt: skip
    write_atomically(HERE / "metrics/distill.json", json.dumps(rounded(content), indent=1) + "\n")


@torch.no_grad()
def milliseconds(student: Student) -> float:
    """Median time of one picture."""
    picture = torch.rand(1, 3, 128, 128)
    times = []
    for _ in range(RUNS):
        start = time.process_time()  # other programs on the machine do not count
        student(picture)
        times.append(time.process_time() - start)
    return 1000 * median(times)


if __name__ == "__main__":
    run(main)
