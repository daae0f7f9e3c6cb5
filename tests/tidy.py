"""The house rules that a linter does not know, each a function from files to complaints.

Not a style checker: ruff and mypy are. These keep the layout of agent/README.md true: imports go
one way, the middle is pure, units are base units, nothing grows past what a person can read. A rule
takes {path: text} and returns one sentence per breach, so that test_tidy.py can show each fail.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Final

Files = Mapping[str, str]

PACKAGE: Final = "agent/burnmeter/"
MODULE_LINES: Final = 500
FUNCTION_LINES: Final = 70
PARAMETERS: Final = 7


def words(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


# Lowest first: a module may import only what stands before it. A folder is one room.
ORDER: Final = words(
    """
    __init__ units errors model indicators snapshot located catalog histograms tree
    boards prices hardware xids model_facts
    config_rules config_slos slo_queries slo_meanings
    config_queries config_sloth config_openslo config_slo_files
    config_targets config_probes config_owners config_prices
    config_facts config_alertmanagers config pricing
    dialects page choice names planning normalise growth meters gpu_watch owners
    attribution sli slo naming watch vantage prompts made paces revenue roofline staleness
    ledgers state recent usage signature bill worth pipeline frame views
    explanation cost_explanation inspection doctor
    sources export simulate checkpoint
    provision
    reports background telling loop wiring looking serving watching
    command_line command_words command_rules command_backtest command_canary
    command_dashboards command_top cli __main__
    """
)
# Values in, values out. Data files that ship with the program count as its code, so that reading
# them (importlib.resources, yaml) is no touch of the world.
PURE: Final = frozenset(
    words(
        """
        units errors model indicators snapshot histograms tree
        boards prices hardware xids model_facts pricing slo_queries slo_meanings
        page choice names planning normalise growth meters gpu_watch owners
        attribution sli slo naming watch vantage prompts made paces revenue roofline staleness
        ledgers state recent usage signature bill worth pipeline frame views
        """
    )
)
WORLD: Final = frozenset(
    words(
        """
        os io sys time datetime random secrets pathlib shutil tempfile glob logging
        threading asyncio multiprocessing concurrent subprocess signal ctypes
        socket ssl select selectors urllib urllib3 http
        psutil pynvml cheroot click
        """
    )
)
ROOMS: Final = frozenset(("sources", "export", "simulate", "provision"))
"""They meet only in loop and cli: none imports another, nor the middle."""
SHARED: Final = frozenset((("provision", "slo"),))
"""But for these: a rule and a node's own verdict must burn by the same tiers."""
MIDDLE: Final = frozenset(
    words(
        """
        choice names planning normalise growth meters gpu_watch owners
        attribution sli slo naming watch vantage prompts made paces revenue roofline staleness
        ledgers state recent usage signature bill worth pipeline frame views
        """
    )
)
CLOCK_HOLDERS: Final = frozenset(
    ("loop", "looking", "serving", "watching", "sources", "simulate", "cli")
)
LATE: Final = frozenset((("command_top", "burnmeter.export"),))
"""Who imports what of ours only where it is used: it needs an extra, and a command must start."""
FOREIGN_UNIT: Final = re.compile(r"[a-z0-9]_(ms|us|mw|mib|percent|perc)$", re.IGNORECASE)
FOREIGN_UNIT_HOLDERS: Final = ("sources/nvml", "dialects/", "config", "located", "units")


def room(path: str) -> str:
    """The module's own name, or that of the folder it is in."""
    return path.removeprefix(PACKAGE).split("/")[0].removesuffix(".py")


def modules(files: Files) -> Iterator[tuple[str, ast.Module]]:
    """Every module of the program, parsed."""
    for path, text in files.items():
        if path.startswith(PACKAGE) and path.endswith(".py"):
            yield path, ast.parse(text)


def imported(node: ast.AST, path: str) -> list[str]:
    """Dotted names that an import statement brings in; a relative one is made absolute."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        parts = path.removeprefix("agent/").split("/")[: -node.level]
        base = ".".join([*parts, *([base] if base else [])])
    if base == "burnmeter":
        return [f"burnmeter.{alias.name}" for alias in node.names]
    return [base]


def own(name: str) -> str | None:
    """The room of ours that a dotted name leads into; None if it is not ours."""
    first, _, rest = name.partition(".")
    if first != "burnmeter":
        return None
    second = rest.split(".")[0]
    return "__init__" if second in ("", "__version__") else second


def imports(files: Files) -> Iterator[tuple[str, int, str]]:
    """Path, line and dotted name of every import in the program, wherever it stands."""
    for path, tree in modules(files):
        for node in ast.walk(tree):
            for name in imported(node, path):
                yield path, getattr(node, "lineno", 0), name


def direction(files: Files) -> list[str]:
    """Imports go one way along ORDER, and every module has a place in it."""
    found = [
        f"{path}: `{room(path)}` has no place in the pipeline; add it to ORDER in tests/tidy.py"
        for path, _ in modules(files)
        if room(path) not in ORDER
    ]
    for path, line, name in imports(files):
        here, there = room(path), own(name)
        if there is None or there == here or here not in ORDER:
            continue
        if there not in ORDER or ORDER.index(there) > ORDER.index(here):
            found.append(f"{path}:{line}: `{here}` imports `{there}`, which stands after it")
    return found


def purity(files: Files) -> list[str]:
    """The middle imports nothing that touches the world."""
    return [
        f"{path}:{line}: `{room(path)}` is pure and may not import `{name}`"
        for path, line, name in imports(files)
        if room(path) in PURE and name.split(".")[0] in WORLD
    ]


def strangers(files: Files) -> list[str]:
    """The rooms at both ends know neither each other nor the middle."""
    return [
        f"{path}:{line}: `{room(path)}` and `{there}` meet only in loop and cli"
        for path, line, name in imports(files)
        if room(path) in ROOMS
        and (there := own(name)) != room(path)
        and there in ROOMS | MIDDLE
        and (room(path), there) not in SHARED
    ]


def hidden_imports(files: Files) -> list[str]:
    """Our own modules are imported at the top: not in a function, a try or under TYPE_CHECKING."""
    found = []
    for path, tree in modules(files):
        top = {id(node) for node in tree.body}
        found += [
            f"{path}:{node.lineno}: import our own modules at the top, so that the order shows"
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            and id(node) not in top
            and any(own(name) is not None for name in imported(node, path))
            and not any((room(path), name) in LATE for name in imported(node, path))
        ]
    return found


def clocks(files: Files) -> list[str]:
    """Only those who drive the program look at the clock or sleep."""
    found = []
    for path, tree in modules(files):
        if room(path) in CLOCK_HOLDERS:
            continue
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="time"), attr="time" | "sleep" as what):
                    found.append(f"{path}:{node.lineno}: time.{what} belongs to loop and sources")
                case ast.ImportFrom(module="time"):
                    found.append(f"{path}:{node.lineno}: write time.monotonic, so that it shows")
    return found


def docstrings(files: Files) -> list[str]:
    """Every module says what it is for."""
    return [
        f"{path}: say in a docstring what this module is for, and what it is not"
        for path, text in files.items()
        if path.endswith(".py") and text.strip() and ast.get_docstring(ast.parse(text)) is None
    ]


def sizes(files: Files) -> list[str]:
    """Modules and functions stay short enough to be read at once."""
    found = []
    for path, text in files.items():
        if not path.endswith(".py"):
            continue
        if (lines := len(text.splitlines())) > MODULE_LINES:
            found.append(f"{path}: {lines} lines; at most {MODULE_LINES}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found += [f"{path}:{node.lineno}: {node.name} {why}" for why in oversize(node)]
    return found


def oversize(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """What is too much about one function."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"has {lines} lines; at most {FUNCTION_LINES}"
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    count = len([one for one in given if one.arg not in ("self", "cls")])
    if count > PARAMETERS:
        yield f"has {count} parameters; at most {PARAMETERS}"


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every name that a module gives to something of its own."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.FunctionDef(name=name) if not name.startswith("test_"):
                yield node.lineno, name


def units(files: Files) -> list[str]:
    """Names end in base units; foreign ones live where they enter, in nvml and dialects."""
    return [
        f"{path}:{line}: `{name}` names a foreign unit; convert where it enters"
        for path, text in files.items()
        if path.endswith(".py") and not path.removeprefix(PACKAGE).startswith(FOREIGN_UNIT_HOLDERS)
        for line, name in names(ast.parse(text))
        if FOREIGN_UNIT.search(name)
    ]


def prints(files: Files) -> list[str]:
    """What the program says goes through click, logging or a page."""
    return [
        f"{path}:{node.lineno}: print"
        for path, tree in modules(files)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]


ENGINE_NAME: Final = re.compile(
    r"vllm|sglang|trtllm|tensorrt|litellm|dynamo|ollama|bitnet|kserve|llama.?cpp|triton|lmdeploy"
    r"|fireworks|envoy|llm.?d\b|\b(nim|tgi|ray)\b",
    re.IGNORECASE,
)
ENGINE_HOLDERS: Final = frozenset(("dialects", "sources", "simulate"))


def engines(files: Files) -> list[str]:
    """No engine's name is in the program's code, so none can decide anything there.

    Docstrings and comments may give one as an example; sources name them only to people.
    """
    return [
        f"{path}:{line}: `{text[:40]}` names an engine; what is known of one is in its dialect"
        for path, tree in modules(files)
        if room(path) not in ENGINE_HOLDERS
        for line, text in code_words(tree)
        if ENGINE_NAME.search(text)
    ]


def code_words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of every name and string in a module but its docstrings."""
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in said:
                yield node.lineno, text
            case ast.Name(id=text) | ast.Attribute(attr=text) | ast.arg(arg=text):
                yield node.lineno, text
            case ast.FunctionDef(name=text) | ast.ClassDef(name=text):
                yield node.lineno, text


# Put together here, so that this file may be searched too.
HOSTS: Final = tuple(
    ".".join(words)
    for words in (
        *(("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com")),
        *(("deb", "debian", "org"), ("golang", "org"), ("crates", "io"), ("docker", "io")),
        *(("ghcr", "io"), ("quay", "io"), ("nvcr", "io"), ("huggingface", "co")),
    )
)
MACHINE_PATH: Final = re.compile(r"(?<![\w.\-}/*])/(?:root|work|workspace|Users|home/\w+)/")


def addresses(files: Files) -> list[str]:
    """No registry's host and no path of somebody's machine."""
    found = []
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            found += [f"{path}:{number}: names the host {host}" for host in HOSTS if host in line]
            if MACHINE_PATH.search(line):
                found.append(f"{path}:{number}: a path of one machine")
    return found


PROGRAM_RULES: Final = (
    *(direction, purity, strangers, hidden_imports, clocks),
    *(docstrings, sizes, units, prints, engines),
)
"""Those over agent/ and tests/; `addresses` is over everything tracked."""
