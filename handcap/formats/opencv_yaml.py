"""OpenCV's camera calibrations (FileStorage), YAML and XML, and the camera_info of ROS, which has the same keys.

The keys are those of OpenCV's calibration sample: camera_matrix, distortion_coefficients, image_width, image_height,
and fisheye_model, which is 1 for the model of cv2.fisheye.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from typing import Any

import numpy as np

from handcap.cameras import Camera, KannalaBrandt4, PinholeRadtan
from handcap.errors import FormatError
from handcap.formats.foreign_calibration import LENSES, ForeignCalibration, ForeignCamera, lens, numbers, without_k3
from handcap.geometry import Array, inverse, se3

# Camera matrix and distortion under the names that OpenCV's samples use.
_PAIRS = (("camera_matrix", "distortion_coefficients"), ("K", "D"))
_STEREO = (("M1", "D1"), ("M2", "D2"))
_MEND = "OpenCV's calibration sample shows the keys: camera_matrix, distortion_coefficients, image_width, image_height"


def is_opencv(values: Mapping[str, Any]) -> bool:
    return any(matrix in values for matrix, _ in (*_PAIRS, *_STEREO))


def parse_xml(text: str, where: str) -> dict[str, Any]:
    """Keys of an `<opencv_storage>`, matrices as in YAML: rows, cols, data. Raises FormatError."""
    if "<!" in text.replace("<!--", ""):  # a document type can hold entities that stand for gigabytes
        raise FormatError("holds a document type, which no OpenCV file has", where=where, mend=_MEND)
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise FormatError(f"is not XML ({error})", where=where, mend="correct the file") from error
    if root.tag != "opencv_storage":
        raise FormatError(f"is no OpenCV file: it begins with <{root.tag}>", where=where, mend=_MEND)
    return {child.tag: _value(child) for child in root}


def _value(element: ElementTree.Element) -> Any:
    if element.get("type_id") == "opencv-matrix":
        told = {child.tag: (child.text or "") for child in element}
        return {"rows": told.get("rows"), "cols": told.get("cols"), "data": told.get("data", "").split()}
    return (element.text or "").strip()


def opencv_of(
    values: Mapping[str, Any], where: str, size: tuple[int, int] | None = None, lose_px: float = 0.3
) -> ForeignCalibration:
    """The camera of a file, cam0; of stereo files (M1, D1, M2, D2) two, the first one cam0.

    Args:
        values: of the file.
        where: how messages call it.
        size: width and height, for files that do not say.
        lose_px: how far off a lens may be for want of its third radial term, which rig.json does not have.

    Raises:
        FormatError: a key is missing, of the wrong shape, or the lens cannot be.
    """
    notes: list[str] = []
    pairs = [(m, d) for m, d in _PAIRS if m in values][:1]
    if not pairs:
        pairs = [(m, d) for m, d in _STEREO if m in values]
    if not pairs:
        raise FormatError("holds no camera matrix", where=where, mend=_MEND)
    cameras: dict[str, ForeignCamera] = {}
    for k, (matrix, distortion) in enumerate(pairs):
        found = _lens(values, matrix, distortion, where, size, lose_px, notes)
        place = np.eye(4) if k == 0 else _second_place(values, where)
        cameras[f"cam{k}"] = ForeignCamera(found, T_first_cam=place)
    return ForeignCalibration(cameras, notes=tuple(notes))


def _second_place(values: Mapping[str, Any], where: str) -> Array | None:
    """Of stereoCalibrate's second camera, in the first one's axes: R and T take the first one's coordinates to it."""
    if "R" not in values or "T" not in values:
        return None
    R, t = _matrix(values, "R", where, 3, 3), _matrix(values, "T", where, 3)
    if np.abs(R @ R.T - np.eye(3)).max() > 0.01 or np.linalg.det(R) < 0 or np.linalg.norm(t) > 3:
        raise FormatError("R and T are no rigid motion in metres", where=where, mend="calibrate with squares in metres")
    return inverse(se3(R, t))


def _lens(
    values: Mapping[str, Any],
    matrix: str,
    distortion: str,
    where: str,
    size: tuple[int, int] | None,
    lose_px: float,
    notes: list[str],
) -> Camera:
    K = _matrix(values, matrix, where, 3, 3)
    if abs(K[0, 1]) > 1e-6 * abs(K[0, 0]) or np.any(K[[1, 2, 2, 2], [0, 0, 1, 2]] != [0, 0, 0, 1]):
        raise FormatError(f"{matrix} must be fx 0 cx, 0 fy cy, 0 0 1", where=where, mend=_MEND)
    if "image_width" in values and "image_height" in values:
        told = numbers([values["image_width"], values["image_height"]], "image_width and image_height", where, 2)
    elif size is not None:
        told = np.array(size, float)
    else:
        raise FormatError("does not say how large its pictures are", where=where, mend="give it: --size 640x480")
    coefficients = _matrix(values, distortion, where, -1)
    focal_centre = K[[0, 1, 0, 1], [0, 1, 2, 2]]
    model = _model(values, where)
    if model is KannalaBrandt4 and len(coefficients) != 4:
        raise FormatError(f"a fisheye has 4 coefficients, not {len(coefficients)}", where=where, mend=_MEND)
    if np.any(coefficients[5:] != 0):
        what = f"{len(coefficients)} coefficients: the rational model is not known"
        raise FormatError(what, where=where, mend="calibrate it with five coefficients, or as a fisheye")
    if len(coefficients) > 4 and coefficients[4] != 0:
        found, note = without_k3(told, focal_centre, coefficients[:5], where, lose_px)
        notes.append(note)
        return found
    return lens(model, told, focal_centre, coefficients[:4], where)


def _model(values: Mapping[str, Any], where: str) -> type[Camera]:
    named = values.get("distortion_model")
    if named is not None:  # camera_info of ROS
        if named not in LENSES:
            raise FormatError(f"distortion {named!r} is not known", where=where, mend="plumb_bob or equidistant")
        return LENSES[str(named)]
    return KannalaBrandt4 if str(values.get("fisheye_model", "0")).strip() in ("1", "1.0") else PinholeRadtan


def _matrix(values: Mapping[str, Any], key: str, where: str, *shape: int) -> Array:
    found = values.get(key)
    return numbers(found.get("data") if isinstance(found, Mapping) else found, key, where, *shape)


def opencv_text(calibration: ForeignCalibration) -> str:
    """A YAML that cv2.FileStorage reads; one camera."""
    camera = _only(calibration)
    lines = ["%YAML:1.0", "---"]
    for key, value in _told(camera.lens).items():
        if isinstance(value, int):
            lines.append(f"{key}: {value}")
        else:
            data = ", ".join(repr(float(number)) for number in value.ravel())
            lines += [f"{key}: !!opencv-matrix", f"   rows: {value.shape[0]}", f"   cols: {value.shape[1]}"]
            lines += ["   dt: d", f"   data: [ {data} ]"]
    return "\n".join(lines) + "\n"


def opencv_xml(calibration: ForeignCalibration) -> str:
    """The same as XML."""
    camera = _only(calibration)
    lines = ['<?xml version="1.0"?>', "<opencv_storage>"]
    for key, value in _told(camera.lens).items():
        if isinstance(value, int):
            lines.append(f"<{key}>{value}</{key}>")
        else:
            data = " ".join(repr(float(number)) for number in value.ravel())
            rows, cols = value.shape
            lines.append(f'<{key} type_id="opencv-matrix"><rows>{rows}</rows><cols>{cols}</cols><dt>d</dt>')
            lines.append(f"<data>{data}</data></{key}>")
    return "\n".join([*lines, "</opencv_storage>"]) + "\n"


def _told(found: Camera) -> dict[str, int | Array]:
    fx, fy, cx, cy = found.params[:4]
    return {
        "image_width": found.width,
        "image_height": found.height,
        "fisheye_model": int(isinstance(found, KannalaBrandt4)),
        "camera_matrix": np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]),
        "distortion_coefficients": np.array(found.params[4:])[:, None],
    }


def _only(calibration: ForeignCalibration) -> ForeignCamera:
    (camera,) = calibration.cameras.values()
    return camera
