"""Robot descriptions of strangers: harmless ones are read, hostile ones end in a clear error."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from handcap.errors import RetargetError
from handcap.retarget.description import read_description
from handcap.retarget.robot import read_robot

ARM = """<robot name="two">
  <link name="base"/>
  <link name="upper">
    <inertial><mass value="{mass}"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>
    <collision><geometry><mesh filename="{mesh}"/></geometry></collision>
  </link>
  <joint name="shoulder" type="{kind}">
    <parent link="{parent}"/><child link="upper"/><axis xyz="0 0 1"/>
    <limit lower="-1" upper="{upper}" velocity="2" effort="10"/>
  </joint>{more}
</robot>"""
STL = b"solid x\nendsolid x\n"


def written(folder: Path, text: str | None = None, **changes: str) -> Path:
    values = {"mass": "1", "mesh": "upper.stl", "kind": "revolute", "parent": "base", "upper": "1", "more": ""}
    package = folder / "package"
    package.mkdir(exist_ok=True)
    (package / "upper.stl").write_bytes(STL)
    (folder / "secret.stl").write_bytes(STL)
    (folder / "secret.txt").write_text("what nobody may read")
    path = package / "robot.urdf"
    path.write_text(ARM.format(**(values | changes)) if text is None else text)
    return path


def test_a_harmless_description_is_read_with_its_meshes_found(tmp_path: Path) -> None:
    path = written(tmp_path)
    description = read_description(path)
    assert description.meshes == (path.parent.resolve() / "upper.stl",)
    assert description.missing == ()
    assert str(description.meshes[0]) in description.xml


def test_the_hash_of_a_description_changes_with_its_meshes(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = read_description(path).sha256
    assert read_description(path).sha256 == before
    (path.parent / "upper.stl").write_bytes(STL + b"\n")
    assert read_description(path).sha256 != before


def test_a_mesh_that_is_not_there_is_named_and_left_out(tmp_path: Path) -> None:
    description = read_description(written(tmp_path, mesh="nowhere.stl"))
    assert description.missing == ("nowhere.stl",)
    assert "nowhere" not in description.xml


def test_an_endless_joint_gets_limits(tmp_path: Path) -> None:
    assert "continuous" not in read_description(written(tmp_path, kind="continuous")).xml


def test_a_mesh_of_the_package_may_be_named_by_its_package(tmp_path: Path) -> None:
    assert read_description(written(tmp_path, mesh="package://package/upper.stl")).missing == ()


def test_a_package_out_of_a_collection_finds_meshes_by_the_collections_name(tmp_path: Path) -> None:
    assert read_description(written(tmp_path, mesh="package://collection/robots/package/upper.stl")).missing == ()
    with pytest.raises(RetargetError, match="outside"):
        read_description(written(tmp_path, mesh="package://collection/robots/../../secret.stl"))


def test_an_undeclared_prefix_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace("<limit ", '<limit drake:acceleration="2" '))
    read_description(path)


BOMB = """<!DOCTYPE robot [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><robot name="&c;"><link name="base"/></robot>"""
EXTERNAL = """<!DOCTYPE robot [<!ENTITY x SYSTEM "../secret.txt">]><robot name="r"><link name="base"/>&x;</robot>"""
REMOTE = """<!DOCTYPE robot SYSTEM "http://example.invalid/robot.dtd"><robot name="r"><link name="base"/></robot>"""
LOOP = """<joint name="back" type="fixed"><parent link="upper"/><child link="base"/></joint>"""
TWICE = """<joint name="again" type="fixed"><parent link="base"/><child link="upper"/></joint>"""
APART = """<link name="a"/><link name="b"/>
<joint name="ab" type="fixed"><parent link="a"/><child link="b"/></joint>
<joint name="ba" type="fixed"><parent link="b"/><child link="a"/></joint>"""


@pytest.mark.parametrize(("text", "says"), [(BOMB, "document type"), (EXTERNAL, "document type"),
                                            (REMOTE, "document type"), ("<robot", "not XML"),
                                            ("<sdf/>", "not URDF"), ("\x00\x01", "not XML"),
                                            ("<robot>" + 500 * "<a>" + 500 * "</a>", "nested")])  # fmt: skip
def test_a_file_that_is_a_trap_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RetargetError, match=says):
        read_description(written(tmp_path, text))


@pytest.mark.parametrize(("changes", "says"), [
    ({"mesh": "../secret.stl"}, "outside"),
    ({"mesh": "a/../../secret.stl"}, "outside"),
    ({"mesh": "../secret.glb"}, "outside"),
    ({"mesh": "package://package/../secret.stl"}, "outside"),
    ({"mesh": "/etc/passwd.stl"}, "absolute"),
    ({"mesh": "file:///etc/passwd.stl"}, "absolute"),
    ({"mesh": "http://example.invalid/a.stl"}, "address"),
    ({"mass": "0"}, "mass of zero"),
    ({"mass": "-1"}, "negative mass"),
    ({"mass": "nan"}, "not a finite number"),
    ({"upper": "nan"}, "not a finite number"),
    ({"upper": "inf"}, "not a finite number"),
    ({"upper": "-2"}, "above its upper"),
    ({"upper": "wide"}, "not a finite number"),
    ({"parent": "upper"}, "circle"),
    ({"parent": "nobody"}, "not there"),
    ({"kind": "screw"}, "of type"),
    ({"more": LOOP}, "circle"),
    ({"more": TWICE}, "two joints"),
    ({"more": APART}, "circle"),
    ({"more": '<link name="alone"/>'}, "hang on nothing"),
    ({"more": '<link name="upper"/>'}, "two of its"),
])  # fmt: skip
def test_a_description_that_lies_is_refused(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    with pytest.raises(RetargetError, match=says):
        read_description(written(tmp_path, **changes))


def test_a_link_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    path = written(tmp_path, mesh="linked.stl")
    os.symlink("../secret.stl", path.parent / "linked.stl")
    with pytest.raises(RetargetError, match="outside"):
        read_description(path)


def test_a_folder_linked_out_of_the_package_is_not_followed(tmp_path: Path) -> None:
    path = written(tmp_path, mesh="meshes/secret.stl")
    os.symlink(tmp_path, path.parent / "meshes")
    with pytest.raises(RetargetError, match="outside"):
        read_description(path)


def test_the_description_itself_may_not_be_a_link_out_of_the_package(tmp_path: Path) -> None:
    path = written(tmp_path)
    os.symlink("../secret.txt", path.parent / "other.urdf")
    with pytest.raises(RetargetError, match="outside"):
        read_description(path.parent / "other.urdf")


def test_a_mesh_may_not_name_materials_outside(tmp_path: Path) -> None:
    path = written(tmp_path, mesh="upper.obj")
    (path.parent / "upper.obj").write_bytes(b"mtllib ../secret.txt\nv 0 0 0\n")
    with pytest.raises(RetargetError, match="outside"):
        read_description(path)


def test_the_command_refuses_a_trap_in_plain_words_and_writes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import json

    from handcap.cli.app import main

    for text in (BOMB, EXTERNAL):
        path = written(tmp_path, text)
        with pytest.raises(SystemExit) as end:
            main(["robots", "describe", str(path), "--json"])
        told = json.loads(capfd.readouterr().out)["error"]
        assert end.value.code == 1 and "document type" in told["what"] and told["mend"]
        assert "what nobody may read" not in json.dumps(told)
        assert sorted(p.name for p in path.parent.iterdir()) == ["robot.urdf", "upper.stl"]


def test_joints_of_a_gripper_are_not_taken_for_the_arms_and_the_file_says_what_to_mend(tmp_path: Path) -> None:
    pytest.importorskip("pinocchio")
    from handcap.retarget.describe import describe

    jaw = """<link name="jaw"><inertial><mass value="0.1"/><inertia ixx="1e-3" ixy="0" ixz="0" iyy="1e-3" iyz="0"
    izz="1e-3"/></inertial></link><joint name="gripper_open" type="revolute"><parent link="upper"/><child link="jaw"/>
    <axis xyz="0 1 0"/><limit lower="-1.5" upper="0" velocity="2" effort="10"/></joint>"""
    path = written(tmp_path, mesh="nowhere.stl", more=jaw)
    told = describe(path)
    assert told.joints == ("shoulder",)
    assert any("gripper_open" in note for note in told.notes["en"])
    text = told.outputs[0].read_text()
    assert "gripper_open: -1.5 to 0" in text
    for key in ("T_tool_tcp", "home", "velocity", "acceleration", "[gripper]", "license"):
        assert key in text.split("\nname =")[0]
    assert read_robot(told.outputs[0]).arms[0].joints == ("shoulder",)


MJCF = '<mujoco><compiler meshdir="{folder}"/><asset><mesh file="{mesh}"/></asset>{more}</mujoco>'


def test_a_mesh_of_an_mjcf_is_found_in_its_folder(tmp_path: Path) -> None:
    path = written(tmp_path, MJCF.format(folder=".", mesh="upper.stl", more=""))
    assert len(read_description(path, format="mjcf").meshes) == 1


@pytest.mark.parametrize(("folder", "mesh", "more", "says"), [
    ("..", "secret.stl", "", "outside"),
    ("/etc", "a.stl", "", "absolute"),
    (".", "upper.stl", '<include file="../secret.txt"/>', "other files"),
    (".", "upper.stl", '<worldbody><body pos="nan 0 0"/></worldbody>', "finite"),
    (".", "upper.stl", '<worldbody><body><inertial mass="0"/></body></worldbody>', "mass of zero"),
    (".", "upper.stl", '<asset><texture fileright="../secret.png"/></asset>', "names the file"),
])  # fmt: skip
def test_an_mjcf_that_lies_is_refused(tmp_path: Path, folder: str, mesh: str, more: str, says: str) -> None:
    with pytest.raises(RetargetError, match=says):
        read_description(written(tmp_path, MJCF.format(folder=folder, mesh=mesh, more=more)), format="mjcf")


@pytest.mark.parametrize(("line", "says"), [
    ('home = [0.0, "x"]', "home"), ("home = [0.0]", "home has 1"), ("home = [nan, 0]", "home"),
    ("home = [0.0, 0.0]\ncolour = 3", "colour"),
])  # fmt: skip
def test_a_robots_file_that_lies_is_refused(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntitle = "Mine"\nkind = "arm"\n[description]\npath = "robot.urdf"\n[[arms]]\nbase = "base"\n'
        'tool = "upper"\njoints = ["a", "b"]\nacceleration = [1, 1]\nlimits_source = "we"\n' + line + "\n"
    )
    with pytest.raises(RetargetError, match=says):
        read_robot(path)


def test_an_unknown_robot_is_answered_with_the_known_ones() -> None:
    with pytest.raises(RetargetError) as told:
        read_robot("r2d2")
    assert "panda" in (told.value.mend or "")
