"""YAML as calibration tools write it, read without trust."""

from __future__ import annotations

from typing import Any

import yaml

from handcap.errors import FormatError


class _Loader(yaml.SafeLoader):
    """Safe, and knows OpenCV's matrix tag."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):  # a few nested ones stand for more than fits the memory
            raise yaml.YAMLError("a calibration has no use for aliases")
        return super().compose_node(parent, index)


def _matrix_node(loader: yaml.SafeLoader, node: yaml.Node) -> Any:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.YAMLError("a matrix without keys")
    return loader.construct_mapping(node, deep=True)


for _tag in ("tag:yaml.org,2002:opencv-matrix", "!opencv-matrix", "!!opencv-matrix"):
    _Loader.add_constructor(_tag, _matrix_node)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Keys of plain YAML or OpenCV's dialect (first line %YAML:1.0, !!opencv-matrix).

    Raises:
        FormatError: it is not YAML, or holds no keys.
    """
    text = "\n".join(line for line in text.splitlines() if not line.startswith("%YAML"))
    try:
        values: Any = yaml.load(text, Loader=_Loader)  # a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"is not YAML ({first})", where=where, mend="correct the file") from error
    if not isinstance(values, dict):
        raise FormatError("holds no keys", where=where, mend="correct the file, or give the right one")
    return values
