"""The VAE and its parts."""

from ear_teacher.models.build import new_model
from ear_teacher.models.vae import EarVAE

__all__ = ["EarVAE", "new_model"]
