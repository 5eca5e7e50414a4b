"""Inertial logs of other programs: CSV as EuRoC writes it, columns of text, MATLAB files.

Nothing is sorted, scaled or mended on the way: what is wrong with a log is for the calibration to name.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handcap import session
from handcap.calibrate.imu.log import AccelUnit, GyroUnit, ImuLog, in_si, log_of_take
from handcap.clock import nanoseconds
from handcap.errors import FormatError, UsageError
from handcap.formats.rows import read_header, split
from handcap.geometry import Array
from handcap.session import Session
from handcap.session.folder import SESSION_JSON
from handcap.types import Stamps

_LARGEST = 2 << 30  # bytes: four hours at 1 kHz in text
_MENDED = (
    "columns are time, gyroscope x y z, accelerometer x y z, and temperature if there is one; see docs/calibration.md"
)
_BOTH = "put gyroscope and accelerometer beside each other, with 'gyr' and 'acc' in their names"
_SPAN = re.compile(r"(\d+(?:\.\d*)?)\s*-\s*(\d+(?:\.\d*)?)", re.ASCII)
_GYRO_NAMES = ("w", "g", "ang", "rot", "omega")
_MATLAB, _HDF5 = b"MATLAB 5.0", b"\x89HDF"


@dataclass(frozen=True, slots=True)
class LogOptions:
    """How to read logs.

    Attributes:
        rate_hz: stated; needed where a log holds no time.
        gyro_unit, accel_unit: of a foreign log's columns; by default counts for a pair of text files of whole numbers,
            which is how IMU-TK writes what a converter read, and SI for all else.
        span_s: seconds to be used, from the first sample.
        device, take: of a session; None for its only device, and for all takes.
    """

    rate_hz: float | None = None
    gyro_unit: GyroUnit | None = None
    accel_unit: AccelUnit | None = None
    span_s: tuple[float, float] | None = None
    device: str | None = None
    take: str | None = None

    @classmethod
    def parsed(
        cls,
        rate_hz: float | None = None,
        gyro_unit: GyroUnit | None = None,
        accel_unit: AccelUnit | None = None,
        span: str | None = None,
        device: str | None = None,
        take: str | None = None,
    ) -> LogOptions:
        """From words of a command line. Raises UsageError for words that mean nothing."""
        if rate_hz is not None and not 1 <= rate_hz <= 100_000:
            raise UsageError(f"no sample rate of {rate_hz:g} Hz", mend="give samples per second, as --rate 200")
        span_s = None
        if span is not None:
            match = _SPAN.fullmatch(span.strip())
            if match is None or not float(match[1]) < float(match[2]):
                raise UsageError(f"no span {span!r}", mend="write start-end in seconds, as 10-13800")
            span_s = float(match[1]), float(match[2])
        return cls(rate_hz, gyro_unit, accel_unit, span_s, device, take)


def open_logs(source: Path, options: LogOptions = LogOptions()) -> list[ImuLog]:
    """Every take of a session, or one foreign log.

    Raises:
        SessionError, FormatError: it cannot be read, or it holds no such device.
    """
    source = Path(source)
    if not (source / SESSION_JSON).is_file():
        return [read_imu_log(source, options)]
    opened = session.read(source)
    takes = opened.takes if options.take is None else (options.take,)
    logs = [
        replace(log_of_take(opened, take, _device(opened, take, options.device)), rate_hz=options.rate_hz)
        for take in takes
    ]
    return logs if options.span_s is None else [log.between(*options.span_s) for log in logs]


def _device(opened: Session, take: str, device: str | None) -> str:
    known = [name for name in opened.take(take).devices if name in opened.rig.devices]
    if device is not None:
        return device
    if len(known) != 1:
        raise FormatError(
            f"inertial samples of {len(known)} devices ({', '.join(known) or 'none'})",
            where=f"{opened.path.name}/{take}",
            mend="name one with --device" if known else "record again with the board plugged in",
        )
    return known[0]


def read_imu_log(source: Path, options: LogOptions = LogOptions()) -> ImuLog:
    """One foreign log: a file with all columns; one of two files of the same length, with `acc` and `gyr` in their
    names and a time and three columns in each; or a folder with such files, or with `data.csv`.

    Raises:
        FormatError: it cannot be read, its columns cannot be told, or it holds no time and no rate is stated.
    """
    source = Path(source)
    paths = _files(source)
    for path in paths:
        if path.stat().st_size > _LARGEST:
            raise FormatError("larger than 2 GB", where=path.name, mend="cut it into several logs")
    if len(paths) == 2:
        gyro_table, accel_table = (_table(path) for path in paths)
        if gyro_table.numbers.shape != accel_table.numbers.shape or gyro_table.numbers.shape[1] != 3:
            shapes = f"{gyro_table.numbers.shape} and {accel_table.numbers.shape}"
            raise FormatError(f"gyroscope and accelerometer do not match ({shapes} numbers)", where=source, mend=_BOTH)
        table = _Table(gyro_table.t_ns, np.hstack([gyro_table.numbers, accel_table.numbers]), None)
    elif _begins(paths[0], _MATLAB):
        table = _matlab(paths[0])
    else:
        table = _table(paths[0])
    if table.numbers.shape[1] != 6:
        raise FormatError(f"{table.numbers.shape[1]} columns of numbers instead of 6", where=source.name, mend=_BOTH)
    raw = len(paths) == 2 and bool(np.all(table.numbers == np.rint(table.numbers)))
    gyro_unit = options.gyro_unit or ("count" if raw else "rad/s")
    accel_unit = options.accel_unit or ("count" if raw else "m/s2")
    t_ns = table.t_ns
    if t_ns is None:
        if options.rate_hz is None:
            raise FormatError("the log holds no time", where=source.name, mend="state the sample rate: --rate HZ")
        t_ns = nanoseconds(np.arange(len(table.numbers)) / options.rate_hz)
    gyro, accel = in_si(table.numbers[:, :3], table.numbers[:, 3:], gyro_unit, accel_unit)
    log = ImuLog(
        source.name,
        t_ns,
        gyro,
        accel,
        gyro_counts=gyro_unit == "count",
        accel_counts=accel_unit == "count",
        temperature_c=table.temperature_c,
        rate_hz=options.rate_hz,
        inputs={path.name: _sha256(path) for path in paths},
    )
    return log if options.span_s is None else log.between(*options.span_s)


@dataclass(frozen=True, eq=False, slots=True)
class _Table:
    """Columns of one file: stamps (n,) or None, numbers (n, columns), temperature (n,) or None."""

    t_ns: Stamps | None
    numbers: Array
    temperature_c: Array | None


def _files(source: Path) -> list[Path]:
    """The file of a log, or its gyroscope's and its accelerometer's."""
    if not source.exists():
        raise FormatError("no such file or folder", where=source, mend="check the path")
    if source.is_dir():
        there = sorted(path for path in source.iterdir() if path.is_file())
        pair = _pair(there)
        if pair:
            return pair
        named = [path for path in there if path.name == "data.csv"]
        tables = named or [path for path in there if path.suffix.lower() in (".csv", ".mat")]
        if len(tables) != 1:
            raise FormatError(f"{len(tables)} files in it could be the log", where=source, mend="name one of them")
        return tables
    if "acc" in source.name.lower() or "gyr" in source.name.lower():
        siblings = [source.with_name(_swapped(source.name)), source]
        if siblings[0].is_file() and siblings[0] != source:
            return _pair(sorted(siblings)) or [source]
    return [source]


def _pair(paths: list[Path]) -> list[Path]:
    gyro = [path for path in paths if "gyr" in path.name.lower()]
    accel = [path for path in paths if "acc" in path.name.lower()]
    return [gyro[0], accel[0]] if len(gyro) == 1 and len(accel) == 1 and gyro != accel else []


def _swapped(name: str) -> str:
    """xsens_acc.mat of xsens_gyro.mat, and back."""
    for a, b in (("accel", "gyro"), ("acc", "gyro"), ("gyro", "acc"), ("gyr", "acc")):
        if a in name.lower():
            i = name.lower().index(a)
            return name[:i] + b + name[i + len(a) :]
    return name


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise FormatError(f"cannot be read ({error.strerror})", where=path, mend="copy the file again") from error


def _table(path: Path) -> _Table:
    """Text: a time in whole nanoseconds or in seconds, then numbers; by name where a header names them."""
    if _begins(path, _HDF5):
        raise FormatError("an HDF5 file", where=path.name, mend=f"export it as CSV: {_MENDED}")
    header = read_header(path)
    first, skipped = _first_row(path)
    separator = "," if "," in first else ";" if ";" in first else None
    fields = split(first)
    whole = fields[0].lstrip("+-").isdigit()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rows = np.loadtxt(
                path,
                dtype=np.dtype([("t", np.int64 if whole else float), ("x", float, (len(fields) - 1,))]),
                delimiter=separator,
                comments="#",
                skiprows=skipped,
                encoding="utf-8-sig",
                ndmin=1,
            )
    except (ValueError, OverflowError, UserWarning, OSError) as error:
        raise FormatError(
            f"a row cannot be read: {error}", where=path.name, mend=f"export it again: {_MENDED}"
        ) from error
    numbers: Array = rows["x"]
    time: Any = rows["t"]
    if not (np.all(np.isfinite(numbers)) and np.all(np.isfinite(time))):
        at = int(np.flatnonzero(~(np.isfinite(numbers).all(axis=1) & np.isfinite(time)))[0])
        raise FormatError(
            f"NaN or infinite in data row {at + 1}", where=path.name, mend="export it again without empty rows"
        )
    names = header if len(header) == len(fields) else []
    t_ns = None
    if not _is_time(names, time, len(fields)):
        numbers = np.column_stack([time, numbers])
        names = ["", *names] if names else []
    elif whole:
        t_ns = np.asarray(time, np.int64)
        if len(t_ns) > 2 and float(np.median(np.diff(t_ns))) < 20_000:
            raise FormatError(
                f"whole stamps that tick by {float(np.median(np.diff(t_ns))):g}: not nanoseconds",
                where=path.name,
                mend="write the time in whole nanoseconds, or in seconds with a decimal point",
            )
    else:
        if not float(np.abs(time).max()) < 9e9:
            raise FormatError(
                f"stamps up to {float(np.abs(time).max()):.3g} with a decimal point: not seconds",
                where=path.name,
                mend="write the time in seconds, or in whole nanoseconds without a decimal point",
            )
        t_ns = nanoseconds(time)
    return _named(path, t_ns, numbers, names[1:])


def _is_time(names: list[str], time: Any, columns: int) -> bool:
    """Whether the first column is a time: by its name, else because it only grows or there is one column too many."""
    if names:
        return "time" in names[0] or names[0].startswith("t") or names[0] in ("ns", "s", "stamp")
    return columns in (4, 7, 8) or float(np.mean(np.diff(time) > 0)) > 0.9


def _first_row(path: Path) -> tuple[str, int]:
    """The first row of numbers, and how many lines before it are a header without #."""
    skipped = 0
    with path.open("rb") as file:
        for _ in range(100):
            text = file.readline(4096).decode("utf-8-sig", errors="replace").strip()
            if not text or text.startswith("#"):
                skipped += 1
                continue
            try:
                float(split(text)[0])
            except ValueError:
                skipped += 1
                continue
            return text, skipped
    raise FormatError("no row of numbers in its first lines", where=path.name, mend=f"export it again: {_MENDED}")


def _named(path: Path, t_ns: Stamps | None, numbers: Array, names: list[str]) -> _Table:
    """Columns in our order: by name where the header tells, else gyroscope first."""
    if not names:
        if numbers.shape[1] == 7:
            return _Table(t_ns, numbers[:, :6], numbers[:, 6])
        if numbers.shape[1] not in (3, 6):
            raise FormatError(f"{numbers.shape[1]} columns of numbers instead of 6", where=path.name, mend=_MENDED)
        return _Table(t_ns, numbers, None)
    warm = next((k for k, name in enumerate(names) if "temp" in name), None)
    accel = [k for k, name in enumerate(names) if k != warm and (name.startswith("a") or "acc" in name)]
    accel = [k for k in accel if not names[k].startswith("ang")]
    gyro = [k for k, name in enumerate(names) if k not in (*accel, warm) and name.startswith(_GYRO_NAMES)]
    counts = (len(gyro), len(accel))
    if counts not in ((3, 3), (3, 0), (0, 3)):
        raise FormatError(f"its header names no inertial columns ({', '.join(names)})", where=path.name, mend=_MENDED)
    return _Table(t_ns, numbers[:, [*gyro, *accel]], None if warm is None else numbers[:, warm])


def _matlab(path: Path) -> _Table:
    """Arrays named after what they hold: gyr…, acc…, and t or time."""
    from scipy.io import loadmat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found: dict[str, Any] = loadmat(path)
    except Exception as error:  # a damaged file raises whatever its bytes lead the reader to
        raise FormatError(
            f"not a MATLAB file that can be read ({error})", where=path.name, mend="save it again"
        ) from error
    arrays = {
        name.lower(): np.asarray(value, float)
        for name, value in found.items()
        if not name.startswith("_") and isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
    }
    gyro = [value for name, value in arrays.items() if "gyr" in name and value.ndim == 2 and value.shape[1] == 3]
    accel = [value for name, value in arrays.items() if "acc" in name and value.ndim == 2 and value.shape[1] == 3]
    if len(gyro) != 1 or len(accel) != 1 or gyro[0].shape != accel[0].shape:
        raise FormatError(
            f"no gyroscope and accelerometer of three columns each (it holds {', '.join(sorted(arrays)) or 'nothing'})",
            where=path.name,
            mend="save two n × 3 arrays, one with 'gyr' and one with 'acc' in its name",
        )
    if not (np.all(np.isfinite(gyro[0])) and np.all(np.isfinite(accel[0]))):
        raise FormatError("NaN or infinite numbers", where=path.name, mend="save it again without them")
    time = next((v.ravel() for k, v in arrays.items() if k in ("t", "time", "time_s")), None)
    t_ns = None
    if time is not None and len(time) == len(gyro[0]) and np.all(np.isfinite(time)) and np.abs(time).max() < 9e9:
        t_ns = nanoseconds(time)
    return _Table(t_ns, np.hstack([gyro[0], accel[0]]), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
