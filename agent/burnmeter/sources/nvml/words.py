"""What NVML's errors mean for whoever is woken by them: kinds and sentences, and what to do."""

import ctypes
from typing import Final

import pynvml as nv

NO_HANDLE: Final = (
    "the NVML reader hangs or dies when it looks for this GPU, so that it does not for some "
    "minutes: see `dmesg | grep -i -e nvrm -e xid`, drain the node"
)


def gpu_failure(error: nv.NVMLError) -> tuple[str, str]:
    """Kind and text for one GPU that does not answer while the driver does."""
    if error.value == nv.NVML_ERROR_GPU_IS_LOST:
        return "gone", (
            "this GPU fell off the bus or cannot be reached (NVML: GPU is lost): see "
            "`dmesg | grep -i xid`, drain the node, then reset the GPU or reboot"
        )
    if error.value == nv.NVML_ERROR_RESET_REQUIRED:
        return "driver", (
            "this GPU needs a reset before it can be used again (NVML: GPU requires restart): "
            "drain the node, then `nvidia-smi --gpu-reset` or reboot"
        )
    return "driver", (
        f"this GPU answers nothing but errors (NVML: {error}): see `dmesg | grep -i -e nvrm -e "
        "xid`, and drain the node if its engine fails too"
    )


def failure(error: nv.NVMLError) -> tuple[str, str]:
    """Kind and text for the whole node."""
    code = error.value
    if code == nv.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "no_library", (
            f"the NVML reader cannot load libnvidia-ml.so.1 ({load_problem()}): install the NVIDIA "
            "driver; in a container use the nvidia runtime with the driver capability `utility`"
        )
    if code == nv.NVML_ERROR_NO_PERMISSION:
        return "no_permission", (
            "the NVML reader may not talk to the driver (NVML: insufficient permissions): it needs "
            "read and write on /dev/nvidiactl and /dev/nvidia*; see `ls -l /dev/nvidia*`"
        )
    if code == nv.NVML_ERROR_DRIVER_NOT_LOADED:
        return "driver", (
            "the NVML reader found no loaded NVIDIA driver: `modprobe nvidia` and look at `dmesg`; "
            "in a container the devices /dev/nvidia* may be missing"
        )
    if code == nv.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        return "driver", (
            "the NVML reader's library and the loaded kernel module are of different versions, as "
            "after a driver upgrade: reload the module or reboot; restart containers that mount it"
        )
    return "driver", f"the NVML reader was refused by the driver: {error}; see if nvidia-smi works"


def load_problem() -> str:
    """The loader's own words, which pynvml drops: missing, or there but of another architecture."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return str(error)
    return "it could not be loaded a moment ago"
