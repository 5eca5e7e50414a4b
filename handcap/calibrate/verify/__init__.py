"""The daily check: ten seconds that say whether a calibration still holds."""

from handcap.calibrate.verify.checks import Check, CheckParams, CheckRecord, check_rig, overall
from handcap.calibrate.verify.stage import VerifyResult, verify

__all__ = ["Check", "CheckParams", "CheckRecord", "VerifyResult", "check_rig", "overall", "verify"]
