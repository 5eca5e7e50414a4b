"""Robot descriptions (URDF, MJCF) of strangers: read once, checked, and nothing opened outside their package."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from xml.parsers import expat

from handcap.errors import RetargetError

Format = Literal["urdf", "mjcf"]

MAX_BYTES = 20_000_000  # the largest description shipped by anyone we know has 1 MB; meshes up to 15
MAX_MESH_BYTES = 200_000_000
MAX_DEPTH = 100
MAX_LINKS = 2000
# Formats whose files cannot name others. A glTF or a USD can.
_MESHES = (".stl", ".obj", ".dae", ".ply", ".msh")
_JOINTS = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")
_URDF_NUMBERS = {
    "origin": ("xyz", "rpy"),
    "axis": ("xyz",),
    "mass": ("value",),
    "inertia": ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"),
    "limit": ("lower", "upper", "velocity", "effort"),
    "box": ("size",),
    "cylinder": ("radius", "length"),
    "capsule": ("radius", "length"),
    "sphere": ("radius",),
    "mesh": ("scale",),
    "mimic": ("multiplier", "offset"),
}
# What turns endless here may do so: two turns each way, so that a joint is always one number.
_ENDLESS_RAD = 4 * math.pi


@dataclass(frozen=True, slots=True)
class Description:
    """A robot description that was read and found harmless.

    Attributes:
        format: "urdf" or "mjcf".
        path: the file.
        root: the package; everything it names lies inside.
        xml: as parsers may have it: no document type, names of meshes absolute, endless joints with limits of two
            turns each way. A mesh that is not there, or in a format not known here, is left out.
        meshes: files it names, absolute, in order of appearance.
        missing: names of meshes that were left out, as written.
        sha256: of the file and of every mesh.
    """

    format: Format
    path: Path
    root: Path
    xml: str
    meshes: tuple[Path, ...]
    missing: tuple[str, ...]
    sha256: str


def read_description(path: Path, root: Path | None = None, format: Format = "urdf") -> Description:
    """Read a description and check it before any other parser sees it.

    Args:
        path: the file.
        root: the package it may read from; its own folder by default.
        format: what it is written in.

    Raises:
        RetargetError: it is not there, is no such description, contradicts itself, holds numbers that are not finite,
            has links that go round in circles or move without mass, declares a document type (entities), or names
            something outside its package.
    """
    path = Path(path)
    root = Path(path.parent if root is None else root).resolve()
    data = _bytes(_inside(path, root, path, str(path)), path)
    tree = tree_of(data, path)
    expected = {"urdf": "robot", "mjcf": "mujoco"}[format]
    if tree.tag != expected:
        raise RetargetError(f"not {format.upper()}: its root is <{tree.tag}>", where=path, mend=_MEND)
    found: list[Path] = []
    missing: list[str] = []
    digest = sha256(data)
    if format == "urdf":
        _check_numbers(tree, path)
        _check_joints(tree, path)
        _check_chain(tree, path)
        _name_meshes(tree, path, root, found, missing)
    else:
        _check_mjcf(tree, path)
        _name_assets(tree, path, root, found)
    for mesh in found:
        digest.update(_mesh_bytes(mesh, root, path))
    xml = ET.tostring(tree, encoding="unicode")
    return Description(format, path, root, xml, tuple(found), tuple(missing), digest.hexdigest())


_MEND = "give a URDF or MJCF file as its maker published it; expand xacro first"


def _inside(target: Path, root: Path, described: Path, written: str) -> Path:
    """`target` with links followed, if that still lies in `root`."""
    try:
        real = target.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise RetargetError(f"{written!r} cannot be followed ({error})", where=described, mend=_MEND) from error
    if not real.is_relative_to(root):
        raise RetargetError(
            f"{written!r} lies outside the robot's package",
            where=described,
            mend=f"copy what it needs into {root.name!r}, or give the package's own folder",
        )
    return real


def _bytes(path: Path, described: Path) -> bytes:
    try:
        if not path.is_file():
            raise RetargetError("no such file", where=described, mend="check the path")
        if path.stat().st_size > MAX_BYTES:
            raise RetargetError(f"larger than {MAX_BYTES // 1_000_000} MB", where=described, mend=_MEND)
        return path.read_bytes()
    except OSError as error:
        raise RetargetError(f"cannot be read ({error.strerror})", where=described, mend="check the file") from error


def tree_of(data: bytes, path: Path) -> ET.Element:
    """A tree without namespaces (makers write undeclared prefixes); any document type is refused, so that no entity
    can be declared, let alone grow or be fetched.
    """
    parser: Any = expat.ParserCreate()
    builder = ET.TreeBuilder()
    depth = 0

    def refuse(*_: Any) -> None:
        raise RetargetError(
            "declares a document type; such a file can swell or fetch others",
            where=path,
            mend="remove its <!DOCTYPE ...> and what is in it",
        )

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise RetargetError(f"nested deeper than {MAX_DEPTH} elements", where=path, mend=_MEND)
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise RetargetError(f"not XML ({error})", where=path, mend=_MEND) from error


def _numbers(text: str, what: str, path: Path) -> list[float]:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = [math.nan]
    if not values or not all(map(math.isfinite, values)):
        raise RetargetError(f"{what} is {text!r}, not a finite number", where=path, mend="correct it in the file")
    return values


def _check_numbers(tree: ET.Element, path: Path) -> None:
    for element in tree.iter():
        for key in _URDF_NUMBERS.get(element.tag, ()):
            if key in element.attrib:
                _numbers(element.attrib[key], f"{key} of a <{element.tag}>", path)


def _named(tree: ET.Element, tag: str, path: Path) -> dict[str, ET.Element]:
    out: dict[str, ET.Element] = {}
    for element in tree.findall(tag):
        name = element.get("name", "")
        if not name or name in out:
            what = f"two of its <{tag}> are called {name!r}" if name else f"a <{tag}> has no name"
            raise RetargetError(what, where=path, mend=f"give each {tag} a name of its own")
        out[name] = element
    return out


def _check_joints(tree: ET.Element, path: Path) -> None:
    for name, joint in _named(tree, "joint", path).items():
        kind = joint.get("type", "")
        if kind not in _JOINTS:
            known = ", ".join(_JOINTS)
            raise RetargetError(f"joint {name!r} is of type {kind!r}", where=path, mend=f"types known: {known}")
        axis = joint.find("axis")
        if (
            axis is not None
            and kind != "fixed"
            and not any(_numbers(axis.get("xyz", "1 0 0"), f"axis of {name!r}", path))
        ):
            raise RetargetError(f"joint {name!r} has an axis of no length", where=path, mend="correct its <axis>")
        if kind == "continuous":
            joint.set("type", "revolute")
            limit = joint.find("limit")
            limit = ET.SubElement(joint, "limit", effort="0", velocity="0") if limit is None else limit
            limit.set("lower", str(-_ENDLESS_RAD))
            limit.set("upper", str(_ENDLESS_RAD))
        elif kind in ("revolute", "prismatic"):
            limit = joint.find("limit")
            if limit is None:
                raise RetargetError(f"joint {name!r} has no <limit>", where=path, mend="write one")
            low, high = (_numbers(limit.get(key, "0"), key, path)[0] for key in ("lower", "upper"))
            if low > high:
                raise RetargetError(
                    f"joint {name!r} has a lower limit above its upper one: {low:g} > {high:g}",
                    where=path,
                    mend="correct its <limit>",
                )


def _check_chain(tree: ET.Element, path: Path) -> None:
    """One root, no link under two joints, no circle, and mass on all that moves."""
    links = _named(tree, "link", path)
    if len(links) > MAX_LINKS:
        raise RetargetError(f"{len(links)} links, more than {MAX_LINKS}", where=path, mend=_MEND)
    above: dict[str, tuple[str, bool]] = {}  # link: (parent, fixed to it)
    for name, joint in _named(tree, "joint", path).items():
        parent, child = (
            "" if found is None else found.get("link", "") for found in (joint.find("parent"), joint.find("child"))
        )
        for link in (parent, child):
            if link not in links:
                raise RetargetError(f"joint {name!r} names a link {link!r} that is not there", where=path, mend=_MEND)
        if child in above:
            raise RetargetError(f"link {child!r} hangs on two joints", where=path, mend=_MEND)
        above[child] = (parent, joint.get("type") == "fixed")
    roots = [name for name in links if name not in above]
    if links and len(roots) != 1:
        what = f"{len(roots)} links hang on nothing: {', '.join(roots[:5])}" if roots else "its links go in a circle"
        raise RetargetError(what, where=path, mend="a robot is one tree with one first link")
    mass: dict[str, float] = {}  # of all that is fixed together, by its first link
    weighed: dict[str, str] = {}
    for name, link in links.items():
        first, seen = name, {name}
        while first in above and above[first][1]:
            first = above[first][0]
            if first in seen:
                raise RetargetError("its links go in a circle", where=path, mend="a robot is one tree")
            seen.add(first)
        up = name
        seen = {name}
        while up in above:
            up = above[up][0]
            if up in seen:
                raise RetargetError("its links go in a circle", where=path, mend="a robot is one tree")
            seen.add(up)
        for element in link.iterfind("inertial/mass"):
            value = _numbers(element.get("value", ""), f"mass of {name!r}", path)[0]
            if value < 0:
                raise RetargetError(f"link {name!r} has a negative mass", where=path, mend="correct its <mass>")
            mass[first] = mass.get(first, 0.0) + value
            weighed[first] = name
    for first, value in mass.items():
        if first in above and value <= 0:
            raise RetargetError(
                f"link {weighed[first]!r} moves and has a mass of zero", where=path, mend="give it the mass it has"
            )


def _name_meshes(tree: ET.Element, path: Path, root: Path, found: list[Path], missing: list[str]) -> None:
    """Absolute file names of meshes; textures are dropped, nothing here looks at them."""
    for element in tree.iter():
        for texture in element.findall("texture"):
            element.remove(texture)
    for link in tree.findall("link"):
        for shape in link.findall("visual") + link.findall("collision"):
            for mesh in shape.iterfind("geometry/mesh"):
                written = mesh.get("filename", "")
                target = _locate(written, path, root)
                if target is None:
                    missing.append(written)
                    link.remove(shape)
                    break
                found.append(target)
                mesh.set("filename", str(target))


def _locate(written: str, path: Path, root: Path, known: tuple[str, ...] = _MESHES) -> Path | None:
    """Where a mesh lies, or None when it is not there in a format that is known. Raises RetargetError when its name
    leads out of the package.
    """
    name = written.removeprefix("file://")
    if re.match(r"[a-z]+://", name) and not name.startswith("package://"):
        raise RetargetError(f"{written!r} is an address, not a file of the package", where=path, mend=_MEND)
    if name.startswith("package://"):
        package, _, rest = name.removeprefix("package://").partition("/")
        places = [parent / rest for parent in path.resolve().parents if parent.name == package]
        places = [p for p in places if p.resolve().is_relative_to(root)] + [root / package / rest, root / rest]
        # A package that was taken out of a collection still calls itself by the collection's name.
        steps = rest.split("/")
        places += [root / "/".join(steps[k:]) for k in range(1, len(steps)) if ".." not in steps]
    elif Path(name).is_absolute():
        raise RetargetError(f"{written!r} is an absolute path", where=path, mend="name meshes within the package")
    else:
        places = [path.parent / name]
    for place in places:
        real = _inside(place, root, path, written)
        if real.is_file() and real.suffix.lower() in known:
            return real
    return None


def _mesh_bytes(mesh: Path, root: Path, path: Path) -> bytes:
    """Contents of a mesh. An OBJ names a file of materials, which parsers open: it must lie inside, too."""
    if mesh.stat().st_size > MAX_MESH_BYTES:
        raise RetargetError(f"{mesh.name} is larger than {MAX_MESH_BYTES // 1_000_000} MB", where=path, mend=_MEND)
    data = mesh.read_bytes()
    if mesh.suffix.lower() == ".obj":
        # Wherever it stands in a line: a search that begins with a word is many times as fast.
        for line in re.findall(rb"mtllib\s+(.+?)\s*$", data, re.MULTILINE):
            written = line.decode(errors="replace")
            if "\x00" not in written:
                _inside(mesh.parent / written, root, path, written)
    return data


_MJCF_FOLDERS = ("meshdir", "assetdir", "texturedir")
_MJCF_TEXTS = ("name", "class", "childclass", "mesh", "joint", "body", "site", "geom", "material", "texture")


def _check_mjcf(tree: ET.Element, path: Path) -> None:
    for element in tree.iter():
        if element.tag in ("include", "model", "plugin", "extension"):
            raise RetargetError(
                f"its <{element.tag}> brings in other files or code", where=path, mend="save it as one file first"
            )
        for key, value in element.attrib.items():
            if key not in _MJCF_TEXTS and re.search(r"(?i)(^|\s)[-+]?(nan|inf)", value):
                raise RetargetError(
                    f"{key} of a <{element.tag}> is {value!r}, not a finite number", where=path, mend="correct it"
                )
        if element.tag == "inertial" and _numbers(element.get("mass", "1"), "mass", path)[0] <= 0:
            raise RetargetError("a body has a mass of zero", where=path, mend="give it the mass it has")


def _name_assets(tree: ET.Element, path: Path, root: Path, found: list[Path]) -> None:
    """Absolute file names of meshes, textures and height fields."""
    folders: dict[str, str] = {}
    for compiler in tree.findall("compiler"):
        folders |= {key: compiler.attrib.pop(key) for key in _MJCF_FOLDERS if key in compiler.attrib}
    for element in tree.iter():
        for key in [k for k in element.attrib if k.startswith("file")]:
            written = element.attrib[key]
            if key != "file" or element.tag not in ("mesh", "texture", "hfield"):
                raise RetargetError(f"a <{element.tag}> names the file {written!r}", where=path, mend=_MEND)
            folder = folders.get("texturedir" if element.tag == "texture" else "meshdir", folders.get("assetdir", ""))
            target = _locate(f"{folder}/{written}" if folder else written, path, root, (*_MESHES, ".png"))
            if target is None:
                raise RetargetError(f"its file {written!r} is not there", where=path, mend="copy its files, too")
            if not element.get("name"):
                element.set("name", Path(written).stem)
            element.set(key, str(target))
            found.append(target)
