"""What an XID, the driver's code for a fault of a GPU, means to the engineer who is woken by it.

The list is xids.yaml, in our words, by NVIDIA's catalog. It decides nothing and alerts nobody: it
gives a code a name, a sentence, what to do, and how urgent that is.

Surprising: one fault often brings several XIDs, and a code alone may not say what to do. Then the
action is `act_on_cause`: another XID, or the recovery that NVML asks for (`recovery`), does.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, NamedTuple

import yaml

CATALOG_URL: Final = "https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html"
SEVERITIES: Final = ("page", "ticket", "log")
"""The worst first. What they mean is in xids.yaml."""
ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "none": "Nothing is to be done.",
        "watch": "Nothing now; look closer if it comes again.",
        "check_app": "Look for the fault in the program; suspect the GPU if others fail on it too.",
        "restart_app": "Restart the program; look closer if it comes again.",
        "act_on_cause": "Act on the XID that came with it, or on the recovery that NVML asks for.",
        "reset_later": "Programs may go on; reset the GPU when that is convenient.",
        "reset_gpu": "Move the work away, stop every program on the GPU and reset it.",
        "reboot_node": "Move the work away and reboot the node, or the virtual machine.",
        "check_hardware": "Look at power, cables, seating and cooling of the board.",
        "update_driver": "Bring driver and firmware to versions that fit together.",
        "contact_support": "Report it to the vendor; the board may have to be replaced.",
        "look_up": f"Look the code up in NVIDIA's list: {CATALOG_URL}",
    }
)
"""Every action there is, and what it asks of a person."""


class Xid(NamedTuple):
    """What one code means."""

    code: int
    name: str
    meaning: str
    action: str
    """One of ACTIONS."""
    severity: str
    """One of SEVERITIES."""


class Recovery(NamedTuple):
    """What the driver asks for, so that a GPU can be used again."""

    word: str
    meaning: str


# NVML_FI_DEV_GET_GPU_RECOVERY_ACTION: the values of nvidia-ml-py 13.615 (5 since driver 595, 6 and
# 7 since 615; an earlier release of it called 5 what is now 6), the meanings of NVIDIA, GPU Memory
# Error Management, Error Recovery and Response Flags.
RECOVERIES: Final[Mapping[int, Recovery]] = MappingProxyType(
    {
        0: Recovery("none", "The GPU can be used."),
        1: Recovery("reset_gpu", "Stop every program on the GPU and reset it."),
        2: Recovery("reboot_node", "Reboot the node: the fault may have reached its system."),
        3: Recovery(
            "drain_p2p", "Stop the programs that reach other GPUs from here, then ask again."
        ),
        4: Recovery(
            "drain_and_reset",
            "The GPU works at less capacity: give it no new work, let the present end, reset it.",
        ),
        5: Recovery(
            "recover_imex_domain",
            "Recover the domain of nodes that share memory over NVLink, rather than this GPU.",
        ),
        6: Recovery("reset_bus", "Reset the PCIe bus that the GPU is on."),
        7: Recovery("reboot_system", "Reboot the whole system that the GPU is part of."),
    }
)


def xid(code: int) -> Xid:
    """What this code means; one that is not listed sends a person to NVIDIA's list."""
    found = shipped().get(code)
    return found or Xid(code, "unknown", "Burnmeter does not know this code.", "look_up", "ticket")


def recovery(value: int) -> Recovery:
    """What NVML asks for by this value of its recovery action."""
    unknown = Recovery("unknown", f"The driver asks for a recovery that is new to us: {value}.")
    return RECOVERIES.get(value, unknown)


@cache
def shipped() -> Mapping[int, Xid]:
    """The shipped list, read once."""
    return load(files("burnmeter").joinpath("xids.yaml").read_text("utf-8"))


def load(text: str) -> Mapping[int, Xid]:
    """A list of codes from its YAML; ValueError names the code that is wrong."""
    found: dict[int, Xid] = {}
    for row in yaml.safe_load(text)["xids"]:
        for code in row.pop("codes"):
            entry = Xid(code=code, **row)
            if code in found:
                raise ValueError(f"XID {code} is listed twice")
            if entry.action not in ACTIONS or entry.severity not in SEVERITIES:
                raise ValueError(f"XID {code}: no such {entry.action} or {entry.severity}")
            found[code] = entry
    return found
