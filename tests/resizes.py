"""Combinations of fitting, interpolation and antialiasing, to test `Preprocessing` in Python and JavaScript."""

from keras_inception.preprocessing import FITTINGS, INTERPOLATIONS

# All valid combinations
RESIZES = [
    {"fitting": fitting, "interpolation": interpolation, "antialias": antialias}
    for fitting in FITTINGS
    for interpolation in INTERPOLATIONS
    for antialias in (True, False)
    if (antialias or interpolation in ("nearest", "bilinear"))
    and (fitting != "central_crop" or (interpolation == "bilinear" and not antialias))
]
