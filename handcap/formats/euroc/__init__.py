"""ASL folders, the layout of the EuRoC MAV recordings (Burri et al., IJRR 2016)."""

from handcap.formats.euroc.importer import import_euroc
from handcap.formats.findings import Finding, ImportReport

__all__ = ["Finding", "ImportReport", "import_euroc"]
