"""The VAE and its parts."""

from ear_teacher.models.vae import EarVAE

__all__ = ["EarVAE"]
