"""LeRobotDataset v3.0: video as H.264, poses and actions as parquet, one dataset for a session."""

from handcap.formats.lerobot.exporter import LeRobotExport, LeRobotParams, export_lerobot

__all__ = ["LeRobotExport", "LeRobotParams", "export_lerobot"]
