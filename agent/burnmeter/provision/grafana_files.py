"""Dashboards as plain files, for Grafana to provision by itself. Pure: no Grafana is asked."""

from collections.abc import Iterable
from typing import Any, Final

from burnmeter.provision.dashboard_set import FOLDER_TITLE, FOLDER_UID, Dashboard
from burnmeter.provision.grafana_objects import DASHBOARD
from burnmeter.provision.grafana_push import datasource_wanted
from burnmeter.provision.grafana_text import written
from burnmeter.provision.rules import dump

HEADER: Final = (
    "# Written by `burnmeter dashboards write`; belongs into Grafana's provisioning/{}/.\n"
)
PROVIDER: Final = "provisioning/dashboards/burnmeter.yaml"
DATASOURCE: Final = "provisioning/datasources/burnmeter.yaml"
BOARDS_PATH: Final = "/var/lib/grafana/dashboards/burnmeter"
RELOAD_SECONDS: Final = 30


def board_files(boards: Iterable[Dashboard]) -> dict[str, str]:
    """A file for each dashboard."""
    return {f"{one.uid}.json": written(DASHBOARD.normal(one.document)) for one in boards}


def provisioning_files(boards_path: str, prometheus_url: str | None) -> dict[str, str]:
    """What makes Grafana read the dashboards, and what they ask if nobody has a data source."""
    provider = {
        "name": "burnmeter",
        "type": "file",
        "folder": FOLDER_TITLE,
        "folderUid": FOLDER_UID,
        "allowUiUpdates": False,
        "disableDeletion": False,
        "updateIntervalSeconds": RELOAD_SECONDS,
        "options": {"path": boards_path},
    }
    found = {PROVIDER: _file("dashboards", {"apiVersion": 1, "providers": [provider]})}
    if prometheus_url is not None:
        source = {**datasource_wanted(prometheus_url).document, "editable": False}
        found[DATASOURCE] = _file("datasources", {"apiVersion": 1, "datasources": [source]})
    return found


def _file(folder: str, content: dict[str, Any]) -> str:
    return HEADER.format(folder) + dump(content)
