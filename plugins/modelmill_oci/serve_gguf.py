"""llama.cpp's own HTTP server over one GGUF file, until SIGTERM; with --check, whether it is healthy.

Runs inside an image, on xllamacpp and the standard library alone: it imports nothing of modelmill.
"""

import os
import signal
import sys
import threading
import urllib.error
import urllib.request


def check(port: str) -> int:
    """0 if the server says that it is healthy."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            return 0 if answer.status == 200 else 1  # noqa: PLR2004
    except (OSError, urllib.error.URLError):
        return 1


def serve(model: str, port: str) -> int:
    """Serve until SIGTERM or SIGINT. LLAMA_ARG_CTX_SIZE, LLAMA_ARG_THREADS and LLAMA_API_KEY are as llama.cpp's."""
    import xllamacpp  # type: ignore[import-not-found,unused-ignore]

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.hostnames = ["0.0.0.0"]  # noqa: S104
    parameters.port = int(port)
    parameters.n_ctx = int(os.environ.get("LLAMA_ARG_CTX_SIZE", "4096"))
    parameters.cpuparams.n_threads = int(os.environ.get("LLAMA_ARG_THREADS", str(len(os.sched_getaffinity(0)))))
    if key := os.environ.get("LLAMA_API_KEY"):
        parameters.api_keys = [key]
    server = xllamacpp.Server(parameters)
    print(f"serving {model} at {server.listening_address}", flush=True)  # noqa: T201
    stop.wait()
    # The C++ server's own destructor waits for slots; a container that is told to stop must stop.
    os._exit(0)


if __name__ == "__main__":
    first, second = sys.argv[1:3]
    sys.exit(check(second) if first == "--check" else serve(first, second))
