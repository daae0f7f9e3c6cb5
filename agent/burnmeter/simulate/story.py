"""The story of the simulated node: what goes wrong, where, when and for how long. Data and reader.

It says what happens to engines and GPUs and never what anyone should measure: whether an incident
burns a budget is for the rest of the program to find out. The default story starts calm, so that
an incident can be seen to begin, and starts over after fifteen minutes.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from burnmeter.errors import ConfigError, Problem
from burnmeter.simulate.fleet import FLEET, GPU_COUNT

KINDS: Final = ("incident", "errors", "restart", "hang", "xid")
_ENGINES: Final = [spec.name for spec in FLEET]
LOST_XID: Final = 79
"""GPU has fallen off the bus (NVIDIA's XID catalogue); it answers nothing while the scene lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One thing that goes wrong, from `at_seconds` of each round of the story."""

    at_seconds: float
    kind: str
    seconds: float = 1.0
    engine: str = ""
    gpu: int | None = None
    slowdown_ratio: float = 1.0
    traffic_ratio: float = 1.0
    error_ratio: float = 0.0
    xid: int = 0


class Playing(NamedTuple):
    """A scene that is on, and since when."""

    scene: Scene
    elapsed_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """Scenes, played over and over."""

    period_seconds: float
    scenes: tuple[Scene, ...]

    def at(self, seconds: float) -> tuple[Playing, ...]:
        """What is on. Before 0 nothing is: the engines warm up."""
        if seconds < 0:
            return ()
        moment = seconds % self.period_seconds
        begun = (Playing(scene, moment - scene.at_seconds) for scene in self.scenes)
        return tuple(one for one in begun if 0 <= one.elapsed_seconds < one.scene.seconds)


DEFAULT: Final = Story(
    period_seconds=900.0,
    scenes=(
        # A power brake holds the chat model's GPUs down just as more people come.
        Scene(
            at_seconds=150.0,
            seconds=150.0,
            kind="incident",
            engine="chat",
            slowdown_ratio=5.0,
            traffic_ratio=1.3,
        ),
        Scene(at_seconds=380.0, seconds=60.0, kind="errors", engine="agents", error_ratio=0.3),
        Scene(at_seconds=480.0, seconds=40.0, kind="restart", engine="code"),
        # A row of HBM remapped: nothing stops, somebody should know.
        Scene(at_seconds=560.0, kind="xid", gpu=5, xid=63),
        Scene(at_seconds=600.0, seconds=45.0, kind="hang", engine="code"),
        Scene(at_seconds=700.0, seconds=60.0, kind="xid", gpu=7, xid=LOST_XID),
    ),
)


def load(path: Path) -> Story:
    """Read a story from YAML: `period_seconds` and `scenes`, with the fields of Scene."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _refused(path, f"cannot be read: {error}") from None
    if not isinstance(raw, dict) or set(raw) != {"period_seconds", "scenes"}:
        raise _refused(path, "a story has two keys, `period_seconds` and `scenes`")
    if not _is_number(raw["period_seconds"]) or raw["period_seconds"] <= 0:
        raise _refused(path, "period_seconds: a number above 0")
    if not isinstance(raw["scenes"], list):
        raise _refused(path, "scenes: a list")
    scenes = tuple(_scene(path, number, item) for number, item in enumerate(raw["scenes"]))
    return Story(period_seconds=float(raw["period_seconds"]), scenes=scenes)


def _scene(path: Path, number: int, raw: Any) -> Scene:
    where = f"scenes[{number}]"
    known = {field.name for field in fields(Scene)}
    if not isinstance(raw, dict) or not {"at_seconds", "kind"} <= set(raw) <= known:
        raise _refused(path, f"{where}: needs at_seconds and kind; known: {', '.join(known)}")
    if raw["kind"] not in KINDS:
        raise _refused(path, f"{where}.kind: {raw['kind']!r} is none of {', '.join(KINDS)}")
    for name, value in raw.items():
        if name not in ("kind", "engine") and not _is_number(value):
            raise _refused(path, f"{where}.{name}: a number, not {value!r}")
    subject, known_subjects = (
        ("gpu", [*range(GPU_COUNT)]) if raw["kind"] == "xid" else ("engine", _ENGINES)
    )
    if raw.get(subject) not in known_subjects or {"gpu", "engine"} <= set(raw):
        raise _refused(path, f"{where}: needs `{subject}` alone, one of {known_subjects}")
    if min(raw.get("slowdown_ratio", 1.0), raw.get("seconds", 1.0)) <= 0:
        raise _refused(path, f"{where}: seconds and slowdown_ratio are above 0")
    return Scene(**raw)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(path: Path, text: str) -> ConfigError:
    return ConfigError((Problem(str(path), 1, 1, text),))
