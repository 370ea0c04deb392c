"""The ways in which a picture is fitted, for the tests of `Preprocessing` and of its twin in JavaScript."""

from keras_inception.preprocessing import FITTINGS, INTERPOLATIONS

# Every combination of these that there is.
RESIZES = [
    {"fitting": fitting, "interpolation": interpolation, "antialias": antialias}
    for fitting in FITTINGS
    for interpolation in INTERPOLATIONS
    for antialias in (True, False)
    if (antialias or interpolation in ("nearest", "bilinear"))
    and (fitting != "central_crop" or (interpolation == "bilinear" and not antialias))
]
