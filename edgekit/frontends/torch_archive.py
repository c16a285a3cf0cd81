"""Looks for code in PyTorch archives without loading them: pickles, expressions, operators."""

from __future__ import annotations

import ast
import io
import json
import pickletools
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import ModelFileError, Reason, UnsupportedError
from edgekit.frontends.archive import check_archive, read_member

_MEMBER_LIMIT = 512 << 20
_HINT = "pass --allow-code (allow_code=True) if you trust the file"

_SAFE_GLOBALS = frozenset(
    (
        "collections OrderedDict",
        "torch Size",
        "torch Tensor",
        "torch device",
        "torch._tensor _rebuild_from_type_v2",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor",
        "torch._utils _rebuild_tensor_v2",
        "torch.nn.parameter Parameter",
    )
)
_SAFE_STORAGE = re.compile(r"torch (\w+Storage|u?int\d+|b?float\d+\w*|bool|complex\d+)")
_UNSAFE_OPCODES = frozenset(
    ("STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4")
)

_SAFE_TARGET = re.compile(
    r"torch\.ops\.[a-z][a-z0-9_]*\.((?!__)\w+|__i?(and|or|xor|lshift|rshift)__)(\.(?!__)\w+)?"
    r"|torch\.sym_\w+"
    r"|_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|getitem)"
    r"|math\.[a-z0-9]+"
)
_CALLS = frozenset(
    (
        *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Mod", "Max", "Min"),
        *("Eq", "Ne", "Equality", "Unequality", "Gt", "Ge", "Lt", "Le", "StrictGreaterThan"),
        *("GreaterThan", "StrictLessThan", "LessThan", "And", "Or", "Not", "Abs", "Piecewise"),
        *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt"),
        *("FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv"),
        *("IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt"),
        *("RoundToInt", "RoundDecimal", "ToFloat", "Identity", "Tuple", "sqrt", "exp", "log"),
        *("floor", "ceiling"),
    )
)
"""Functions that the size expressions of an exported program may call."""

_METHODS = frozenset(("size", "stride", "dim", "storage_offset", "item"))
_ANY_NODE: tuple[type[ast.AST], ...] = (
    ast.Expression,
    ast.Constant,
    ast.Name,
    ast.Load,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.Subscript,
    ast.Tuple,
    ast.keyword,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
)


def check_export(path: Path, *, allow_code: bool) -> tuple[zipfile.ZipInfo, ...]:
    """Look through a `torch.export` archive (`.pt2`).

    Args:
        path: the archive.
        allow_code: check only that it is safe to unpack.

    Returns:
        Its members.

    Raises:
        ModelFileError: if it is damaged or not safe to unpack.
        UnsupportedError: if it holds compiled code, pickled objects, or expressions that would run
            code, with a reason for each.
    """
    members = check_archive(path)
    names = [member.filename for member in members]
    if not any(_is_program(name) for name in names):
        raise ModelFileError(
            f"{path.name} is no torch.export archive: it holds no exported program.",
            hint="write it with torch.export.save(torch.export.export(model, inputs), path)",
        )
    if allow_code:
        return members
    if reasons := list(dict.fromkeys(_faults(path, names))):
        raise UnsupportedError(
            f"{path.name} is refused before it is loaded:", reasons=reasons, hint=_HINT
        )
    return members


def pickle_globals(path: Path) -> frozenset[str]:
    """What the pickle in a `.pt` or `.pth` file names, `module name` each, without running it.

    Raises:
        ModelFileError: if it holds no readable pickle.
    """
    if not zipfile.is_zipfile(path):
        return frozenset(_globals(path.read_bytes(), path.name)[0])
    names = [m.filename for m in check_archive(path) if m.filename.endswith("data.pkl")]
    if not names:
        raise ModelFileError(f"{path.name} is no PyTorch file: it has no data.pkl.")
    return frozenset(_globals(read_member(path, names[0], _MEMBER_LIMIT), path.name)[0])


def _is_program(name: str) -> bool:
    inner = name.partition("/")[2]
    legacy = name.endswith("serialized_exported_program.json")
    return legacy or (inner.startswith("models/") and inner.endswith(".json"))


def _faults(path: Path, names: list[str]) -> Iterator[Reason]:
    for name in names:
        inner = name.partition("/")[2] or name
        base = name.rpartition("/")[2]
        if "aotinductor" in inner or base.endswith((".so", ".cpp", ".cubin", ".dll", ".dylib")):
            yield Reason(name, "binary", "holds compiled code", "save it with torch.export.save")
        elif base.startswith(("custom_obj_", "opaque_obj_")):
            yield Reason(name, "object", "is a pickled object", _HINT)
        elif base.endswith((".pt", ".pkl")) or base in _pickled(path, names):
            yield from _pickle_faults(read_member(path, name, _MEMBER_LIMIT), name)
        elif _is_program(name):
            yield from _program_faults(_json(path, name), name)


def _pickled(path: Path, names: list[str]) -> frozenset[str]:
    """Names of the weights and constants that the archive's tables call pickles."""
    found = set()
    for name in names:
        if name.endswith(("_weights_config.json", "_constants_config.json")):
            table = _json(path, name)
            entries = table.get("config", {}) if isinstance(table, dict) else {}
            for entry in entries.values() if isinstance(entries, dict) else ():
                if isinstance(entry, dict) and entry.get("use_pickle"):
                    found.add(str(entry.get("path_name", "")).rpartition("/")[2])
    return frozenset(found)


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads(read_member(path, name, _MEMBER_LIMIT))
    except (ValueError, RecursionError) as e:
        raise ModelFileError(f"member {name!r} of {path.name} is damaged: {e}.") from e


def _pickle_faults(content: bytes, name: str) -> Iterator[Reason]:
    if not content:
        return
    pickles = [content]
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                pickles = [archive.read(n) for n in archive.namelist() if n.endswith(".pkl")]
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as e:
            raise ModelFileError(f"member {name!r} is damaged: {e}.") from e
    for pickled in pickles:
        used, opcodes = _globals(pickled, name)
        odd = {g for g in used if g not in _SAFE_GLOBALS and not _SAFE_STORAGE.fullmatch(g)}
        for thing in sorted(odd | (opcodes & _UNSAFE_OPCODES)):
            yield Reason(name, "pickle", f"would call '{thing}'", _HINT)


def _globals(content: bytes, name: str) -> tuple[set[str], set[str]]:
    used, opcodes = set(), set()
    try:
        for opcode, argument, _ in pickletools.genops(content):
            opcodes.add(opcode.name)
            if opcode.name in ("GLOBAL", "INST"):
                used.add(str(argument))
    except Exception as e:
        # pickletools raises several kinds of exception on a damaged pickle.
        raise ModelFileError(f"the pickle {name!r} is damaged: {e}.") from e
    return used, opcodes


def _program_faults(program: Any, name: str) -> Iterator[Reason]:
    stack = [program]
    while stack:
        entry = stack.pop()
        if isinstance(entry, Mapping):
            yield from _entry_faults(entry, name)
            stack.extend(entry.values())
        elif isinstance(entry, list):
            stack.extend(entry)


def _entry_faults(entry: Mapping[str, Any], name: str) -> Iterator[Reason]:
    target = entry.get("target")
    if isinstance(target, str) and not _SAFE_TARGET.fullmatch(target):
        yield Reason(name, target, "is not an operator of PyTorch", "export it without it")
    for text in (entry.get("expr_str"), *_texts(entry.get("guards_code"))):
        if isinstance(text, str) and not _harmless(text):
            yield Reason(name, "expression", f"would run {text[:80]!r}", _HINT)


def _texts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _harmless(text: str) -> bool:
    """Whether an expression only computes with sizes."""
    try:
        tree = ast.parse(text, mode="eval")
        return all(_harmless_node(node) for node in ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def _harmless_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        call = node.func
        named = isinstance(call, ast.Name) and call.id in _CALLS
        return named or isinstance(call, ast.Attribute)
    if isinstance(node, ast.Attribute):
        return node.attr in _METHODS
    return isinstance(node, _ANY_NODE)
