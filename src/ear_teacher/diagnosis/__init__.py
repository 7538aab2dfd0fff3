"""What is really wrong with a trained VAE, by measurement.

    diagnosis = diagnose(Subject(model, held_out=pictures, train=others))
    diagnosis.findings[0].cause, diagnosis.findings[0].command

`measure` takes the evidence, `causes` holds one rule a cause, `verdict` ranks them and `page` puts it into words.
"""

from ear_teacher.diagnosis.subject import Subject
from ear_teacher.diagnosis.verdict import Diagnosis, diagnose

__all__ = ["Diagnosis", "Subject", "diagnose"]
