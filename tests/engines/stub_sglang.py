"""Let SGLang start without a GPU: stand-ins for what it imports and, on the CPU, never runs.

Not a patch of SGLang. setup.sh copies this file into SGLang's own environment, where Python loads
it at start. Only SGLang is given a stand-in: others that ask for such a package, to see whether
they may use it, are told the truth.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from typing import Any

ABSENT = {
    *("av", "blobfile", "cutlass", "cv2", "decord", "deep_ep", "deep_gemm", "flash_attn"),
    *("flash_mla", "flashinfer", "humming", "kernels", "modelscope", "outlines", "quack"),
    *("sgl_kernel", "soundfile", "tilelang", "timm", "torch_memory_saver", "torchaudio"),
    "torchvision",
}


def _is_private(name: str) -> bool:
    """Names that Python itself looks for must be missing, or every protocol seems to be kept."""
    return name.startswith("__")


class _AnyClass(type):
    """A class whose every attribute is there, and does nothing."""

    def __getattr__(cls, name: str) -> Any:
        if _is_private(name):
            raise AttributeError(name)
        return Anything()


class Anything(metaclass=_AnyClass):
    """It can be called, asked for any attribute, inherited from and written in annotations."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> "Anything":
        return Anything()

    def __getattr__(self, name: str) -> "Anything":
        if _is_private(name):
            raise AttributeError(name)
        return Anything()

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __bool__(self) -> bool:
        return False

    def __or__(self, other: Any) -> type:
        return object

    __ror__ = __or__


class StandIn(types.ModuleType):
    """A package in which every name is a class of its own, and every submodule can be imported."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if _is_private(name):
            raise AttributeError(name)
        made = _AnyClass(name, (Anything,), {})
        setattr(self, name, made)
        return made


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Asked last, when nobody else has found the module."""

    def find_spec(
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] in ABSENT and _importer().startswith("sglang"):
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def _importer() -> str:
    """The module whose code asks for the import."""
    frame = sys._getframe(2)
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        frame = frame.f_back
    spec = frame.f_globals.get("__spec__")  # its name holds for `python -m` too
    return str(spec.name if spec is not None else frame.f_globals.get("__name__", ""))


sys.meta_path.append(Finder())
