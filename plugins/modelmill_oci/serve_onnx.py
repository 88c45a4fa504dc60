"""An HTTP server with OpenAI's chat API over one ONNX model folder, until SIGTERM; with --check, whether it is healthy.

Runs inside an image, on onnxruntime-genai and the standard library alone: it imports nothing of modelmill. One answer
is generated at a time. SERVER_CONTEXT (tokens), SERVER_THREADS and SERVER_API_KEY are as their names say.
"""

import hmac
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_LONGEST_BODY = 4 << 20
_SOCKET_PATIENCE = 30.0
_STOP_PATIENCE = 3.0
_ROLES = ("system", "user", "assistant")


class RequestError(Exception):
    """What a client asked for cannot be done: an HTTP status, and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One chat completion as a client asks for it; `tokens` is the most that it may take, 0 as many as fit."""

    messages: list[dict[str, str]]
    tokens: int
    search: Mapping[str, Any]
    stop: tuple[str, ...]
    stream: bool


@dataclass(slots=True, kw_only=True)
class Usage:
    """What an answer took, and why it ended."""

    prompt: int = 0
    answer: int = 0
    reason: str = "length"


def parse(body: Any) -> Wish:
    """Read a request's body. Raises RequestError for what is not one."""
    if not isinstance(body, dict):
        raise RequestError(400, "the body must be a JSON object")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "'messages' must be a list of at least one message")
    if body.get("n", 1) != 1:
        raise RequestError(400, "'n' must be 1: one answer is given at a time")
    temperature = _number(body, "temperature", 1.0, 0.0, 10.0)
    search: dict[str, Any] = {"do_sample": temperature > 0}
    if temperature > 0:
        search |= {"temperature": temperature, "top_p": _number(body, "top_p", 1.0, 0.0, 1.0)}
    if body.get("seed") is not None:
        search["random_seed"] = int(_number(body, "seed", 0, 0, 2**31 - 1))
    stop = body.get("stop") or []
    stop = [stop] if isinstance(stop, str) else stop
    if not isinstance(stop, list) or not all(isinstance(item, str) and item for item in stop):
        raise RequestError(400, "'stop' must be a string or a list of strings")
    name = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    return Wish(
        messages=[_message(item) for item in messages],
        tokens=int(_number(body, name, 0, 0, 2**31 - 1)),
        search=search,
        stop=tuple(stop),
        stream=body.get("stream") is True,
    )


def _message(item: Any) -> dict[str, str]:
    if not isinstance(item, dict) or item.get("role") not in _ROLES:
        raise RequestError(400, f"a message has a 'role', one of {', '.join(_ROLES)}")
    content = item.get("content")
    if isinstance(content, list):
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise RequestError(400, "a message's 'content' may hold parts of the type text only")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise RequestError(400, "a message's 'content' must be a string")
    return {"role": item["role"], "content": content}


def _number(body: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise RequestError(400, f"{name!r} must be a number from {least:g} to {most:g}")
    return float(value)


class Chat:
    """A loaded model that answers one client after the other."""

    def __init__(self, folder: Path, context: int, threads: int) -> None:
        import onnxruntime_genai as genai

        self._genai = genai
        config = genai.Config(str(folder))
        options = {"session_options": {"intra_op_num_threads": threads}}
        config.overlay(json.dumps({"model": {"decoder": options}}))
        self._model = genai.Model(config)
        self._tokenizer = genai.Tokenizer(self._model)
        known = json.loads((folder / "genai_config.json").read_bytes())["model"]["context_length"]
        self._context = min(context or known, known)
        self._turn = threading.Lock()

    def rest(self, patience: float) -> None:
        """Wait so long for a running answer, and let no further one begin."""
        self._turn.acquire(timeout=patience)

    def encode(self, messages: list[dict[str, str]]) -> Any:
        """The prompt's tokens, by the model's own chat template. Raises RequestError where it does not fit."""
        try:
            text = self._tokenizer.apply_chat_template(json.dumps(messages), add_generation_prompt=True)
        except RuntimeError as error:
            raise RequestError(400, f"the model's chat template refuses the messages: {error}") from error
        ids = self._tokenizer.encode(text)
        if len(ids) >= self._context:
            raise RequestError(400, f"the messages take {len(ids)} tokens, and the context holds {self._context}")
        return ids

    def answer(self, wish: Wish, ids: Any, usage: Usage) -> Iterator[str]:
        """The answer's text, piece by piece; `usage` holds what it took when it has ended."""
        usage.prompt = len(ids)
        longest = min(self._context, len(ids) + wish.tokens) if wish.tokens else self._context
        parameters = self._genai.GeneratorParams(self._model)
        parameters.set_search_options(max_length=longest, **wish.search)
        with self._turn:
            generator = self._genai.Generator(self._model, parameters)
            generator.append_tokens(ids)
            yield from _until_stop(self._pieces(generator, usage), wish.stop, usage)

    def _pieces(self, generator: Any, usage: Usage) -> Iterator[str]:
        stream = self._tokenizer.create_stream()
        ends = set(self._tokenizer.eos_token_ids)
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            usage.answer += 1
            if token in ends:
                usage.reason = "stop"
                return
            yield stream.decode(token)


def _until_stop(pieces: Iterator[str], stop: tuple[str, ...], usage: Usage) -> Iterator[str]:
    """The text up to the first stop sequence; what may be the beginning of one is held back."""
    held, keep = "", max((len(item) - 1 for item in stop), default=0)
    for piece in pieces:
        held += piece
        ends = [place for item in stop if (place := held.find(item)) >= 0]
        if ends:
            usage.reason = "stop"
            yield held[: min(ends)]
            return
        ready = len(held) - keep
        if ready > 0:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held


class Handler(BaseHTTPRequestHandler):
    """One connection: /health, /v1/models and /v1/chat/completions."""

    protocol_version = "HTTP/1.1"
    timeout = _SOCKET_PATIENCE
    chat: Chat
    name: str
    key: str
    _streams = False

    def do_GET(self) -> None:
        """Health, and the one model's name."""
        if self.path == "/health":
            self._send(200, {"status": "ok"})
        elif self._allowed() and self.path == "/v1/models":
            self._send(200, {"object": "list", "data": [{"id": self.name, "object": "model", "owned_by": "local"}]})
        else:
            self._refuse()

    def do_POST(self) -> None:
        """A chat completion."""
        try:
            body = self._body()
            if not self._allowed() or self.path != "/v1/chat/completions":
                self._refuse()
                return
            wish = parse(body)
            ids = self.chat.encode(wish.messages)
            self._stream(wish, ids) if wish.stream else self._whole(wish, ids)
        except RequestError as error:
            self._error(error.status, str(error))
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except RuntimeError as error:  # ONNX Runtime's own; a stream that has begun can only end
            self.close_connection = True
            if not self._streams:
                self._error(500, str(error))

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return not self.key or hmac.compare_digest(given.encode(), self.key.encode())

    def _refuse(self) -> None:
        if self._allowed():
            self._error(404, f"there is nothing at {self.path}")
        else:
            self._error(401, "the API key is missing or wrong")

    def _body(self) -> Any:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            self.close_connection = True
            raise RequestError(413 if length.isdigit() else 411, f"a body has a length, {_LONGEST_BODY} bytes at most")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"the body is not JSON: {error}") from error

    def _whole(self, wish: Wish, ids: Any) -> None:
        usage = Usage()
        text = "".join(self.chat.answer(wish, ids, usage))
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": usage.reason}
        counts = {"prompt_tokens": usage.prompt, "completion_tokens": usage.answer}
        total = {"total_tokens": usage.prompt + usage.answer}
        self._send(200, {**self._head("chat.completion"), "choices": [choice], "usage": {**counts, **total}})

    def _stream(self, wish: Wish, ids: Any) -> None:
        """Server-sent events; the connection closes behind them."""
        self.close_connection = self._streams = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        usage, head = Usage(), self._head("chat.completion.chunk")
        self._event(head, {"role": "assistant", "content": ""}, None)
        for piece in self.chat.answer(wish, ids, usage):
            if piece:
                self._event(head, {"content": piece}, None)
        self._event(head, {}, usage.reason)
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, head: Mapping[str, Any], delta: Mapping[str, str], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        self.wfile.write(b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n")

    def _head(self, kind: str) -> dict[str, Any]:
        identity = f"chatcmpl-{os.urandom(12).hex()}"
        return {"id": identity, "object": kind, "created": int(time.time()), "model": self.name}

    def _error(self, status: int, message: str) -> None:
        kind = "invalid_request_error" if status < 500 else "server_error"  # noqa: PLR2004
        self._send(status, {"error": {"message": message, "type": kind, "code": status}})

    def _send(self, status: int, value: Mapping[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing: what people ask is not for a log."""


def check(port: str) -> int:
    """0 if the server says that it is healthy."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=3) as answer:
            return 0 if answer.status == 200 else 1  # noqa: PLR2004
    except (OSError, urllib.error.URLError):
        return 1


def serve(folder: Path, port: int) -> int:
    """Serve until SIGTERM or SIGINT; a running answer has a few seconds to end."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threads = int(os.environ.get("SERVER_THREADS") or len(os.sched_getaffinity(0)))
    Handler.chat = Chat(folder, int(os.environ.get("SERVER_CONTEXT") or 0), threads)
    Handler.name = os.environ.get("SERVER_MODEL_NAME") or "model"
    Handler.key = os.environ.get("SERVER_API_KEY", "")
    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"serving {folder} at port {port}", flush=True)  # noqa: T201
    stop.wait()
    Handler.chat.rest(_STOP_PATIENCE)
    # An answer that goes on holds a thread in native code; a container that is told to stop must stop.
    os._exit(0)


if __name__ == "__main__":
    first, second = sys.argv[1:3]
    sys.exit(check(second) if first == "--check" else serve(Path(first), int(second)))
