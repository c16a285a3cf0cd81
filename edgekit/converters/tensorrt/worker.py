"""Builds one engine, in a process of its own that only imports TensorRT.

    python -m edgekit.converters.tensorrt.worker REQUEST RESULT

Both are JSON files. The request has `module` (`tensorrt` or `tensorrt_rtx`), `onnx`, `profiles`
and `engine` (where to write it; null to parse only). The result has `errors` (what the parser
refuses: node, op, message), `layers` (the builder's message about its layers), `failure` (why no
engine was built) and `version`.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from edgekit.converters.tensorrt.layers import HEADER

_WORDS = 500


def build(request: dict[str, Any]) -> dict[str, Any]:
    """Parse an ONNX file and, where that is asked for, build and write its engine."""
    trt = import_module(request["module"])
    result: dict[str, Any] = {
        "version": trt.__version__, "errors": [], "layers": "", "failure": ""
    }  # fmt: skip
    logger = _logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(_flags(trt))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(request["onnx"]):
        errors = (parser.get_error(i) for i in range(parser.num_errors))
        result["errors"] = [_error(e) for e in errors]
        return result
    if request["engine"] is None:
        return result
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    inputs = {network.get_input(i).name for i in range(network.num_inputs)}
    _add_profile(builder, config, request["profiles"], inputs)
    engine = builder.build_serialized_network(network, config)
    result["layers"] = next((m for _, m in logger.messages if m.startswith(HEADER)), "")
    if engine is None:
        result["failure"] = logger.failure or "the builder gave no reason"
    else:
        Path(request["engine"]).write_bytes(bytes(engine))
    return result


def _flags(trt: Any) -> int:
    """Strong typing, which TensorRT 11 always has and earlier ones must be asked for."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _logger(trt: Any) -> Any:
    class Collector(trt.ILogger):  # type: ignore[misc]
        """Keeps the messages that matter."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[tuple[int, str]] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= 1 or message.startswith(HEADER):
                self.messages.append((int(severity), message))

        @property
        def failure(self) -> str:
            errors = [m for severity, m in self.messages if severity <= 1]
            return " ".join(" ".join(errors).split())[:_WORDS]

    return Collector()


def _error(error: Any) -> dict[str, str]:
    return {
        "node": error.node_name(),
        "op": error.node_operator(),
        "message": " ".join(f"{error.code()}: {error.desc()}".split())[:_WORDS],
    }


def _add_profile(
    builder: Any, config: Any, profiles: dict[str, dict[str, list[int]]], inputs: set[str]
) -> None:
    if not profiles:
        return
    profile = builder.create_optimization_profile()
    for name, shapes in profiles.items():
        # The parser renames an input that has the name of an output: it is one.
        known = name if name in inputs else f"__{name}"
        profile.set_shape(known, shapes["min"], shapes["opt"], shapes["max"])
    config.add_optimization_profile(profile)


def main(arguments: list[str]) -> None:
    """Entry point of the process."""
    request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    Path(arguments[1]).write_text(json.dumps(build(request)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
