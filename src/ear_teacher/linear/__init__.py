"""Linear codes of images: global PCA, the Karhunen-Loeve transform (KLT) of square patches, and patches that overlap.

They are three things at once: the zero line every model has to beat (equal floats: PCA and KLT), the spectrum the
forecast is computed from, and the warm start of the model. Pixels are in [-1, 1] throughout. All are fitted on the
pictures *and their mirror images*: a picture's mirror is as likely a picture, and it doubles the rank.

Covariances use the 1/n convention (maximum likelihood), as Tipping & Bishop 1999, "Probabilistic PCA".
"""

from ear_teacher.linear.code import LinearCode, WhitenedCode, batches
from ear_teacher.linear.fit import fit_codes, fit_klt, fit_pca, within_span
from ear_teacher.linear.lapped import REACH, fit_lapped
from ear_teacher.linear.spectra import Energies, energies, spectrum

__all__ = [
    "REACH",
    "Energies",
    "LinearCode",
    "WhitenedCode",
    "batches",
    "energies",
    "fit_codes",
    "fit_klt",
    "fit_lapped",
    "fit_pca",
    "spectrum",
    "within_span",
]
