"""In which container and pod a process is, as kernels and runtimes write it; pods by their logs."""

import os
from pathlib import Path

import pytest

from burnmeter.model import Pod
from burnmeter.sources.cgroups import Place, parsed, place, pods

ID = "0123456789abcdef" * 4
UID = "6b8a9d10-8f0e-4b0e-9d5e-0c2f5a1b7c33"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
            f"{UID.replace('-', '_')}.slice/cri-containerd-{ID}.scope\n",
            Place(ID, UID),
            id="version 2, systemd, containerd",
        ),
        pytest.param(
            f"12:memory:/kubepods/besteffort/pod{UID}/{ID}\n11:cpu:/kubepods/besteffort/pod{UID}/{ID}\n",
            Place(ID, UID),
            id="version 1, cgroupfs",
        ),
        pytest.param(
            f"0::/../../kubepods-pod{UID.replace('-', '_')}.slice/crio-{ID}.scope/container\n",
            Place(ID, UID),
            id="seen from within another container, CRI-O",
        ),
        pytest.param(
            f"0::/kubepods/burstable/pod{'ab' * 16}/{ID}\n", Place(ID, "ab" * 16), id="static pod"
        ),
        pytest.param(f"0::/system.slice/docker-{ID}.scope\n", Place(ID, None), id="Docker"),
        pytest.param(
            f"0::/machine.slice/libpod-{ID}.scope/container\n", Place(ID, None), id="Podman"
        ),
        pytest.param("0::/system.slice/vllm.service\n", Place(None, None), id="a service"),
        pytest.param("0::/\n", Place(None, None), id="hidden by a namespace"),
        pytest.param("", Place(None, None), id="empty"),
    ],
)
def test_a_cgroups_path_names_container_and_pod(text: str, found: Place) -> None:
    assert parsed(text) == found


def test_a_process_that_is_gone_is_in_no_place() -> None:
    assert place(2**22 + 1) == Place(None, None)


def test_our_own_process_can_be_read() -> None:
    assert isinstance(place(os.getpid()), Place)


def test_pods_are_called_as_the_folders_of_their_logs(tmp_path: Path) -> None:
    (tmp_path / f"prod_chat-0_{UID}").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "a_b_c_d").mkdir()

    assert pods(tmp_path) == {UID: Pod("prod", "chat-0")}
    assert pods(tmp_path / "absent") == {}
