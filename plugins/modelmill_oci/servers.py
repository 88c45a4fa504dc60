"""How each format is served: the program, what it is given, and the variables that set it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How a format is served: by which program from wheels, which then takes a model and a port; and its settings.

    `arguments` are what a base's own entrypoint takes, none where there is no such program.
    """

    launcher: str
    model: str
    wheels: str
    context: str
    threads: str
    api_key: str
    arguments: tuple[str, ...] = ()


SERVERS: Mapping[str, Server] = {
    "gguf": Server(
        launcher="serve_gguf.py",
        model="{model}",
        wheels="xllamacpp",
        context="LLAMA_ARG_CTX_SIZE",
        threads="LLAMA_ARG_THREADS",
        api_key="LLAMA_API_KEY",
        arguments=("--model", "{model}", "--host", "0.0.0.0", "--port", "{port}"),  # noqa: S104
    ),
    "onnx": Server(
        launcher="serve_onnx.py",
        model="{folder}",
        wheels="onnxruntime-genai, onnxruntime and numpy",
        context="SERVER_CONTEXT",
        threads="SERVER_THREADS",
        api_key="SERVER_API_KEY",
    ),
}
"""The formats that an image can serve."""
