"""Whose name and password go to which registry, as docker's and podman's configuration say."""

import base64
import binascii
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelmill import RemoteError
from modelmill_oci.access import Access

_HUB_KEY = "https://index.docker.io/v1/"
_HELPER_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name with a password, or an identity token alone. Secrets never show in a repr."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def find(host: str, access: Access, environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """The credentials for a registry, None where there are none. Raises RemoteError for a broken configuration.

    Asked in this order: `username` with the password's environment variable, then the files of `_files`. In
    a file a registry's own helper goes before the common one, and that before an inline entry, as in Docker.
    """
    if access.username:
        if access.password_env not in environment:
            raise RemoteError(
                f"user {access.username!r} needs a password: set the environment variable {access.password_env}"
            )
        return Credentials(username=access.username, password=environment[access.password_env])
    for path in _files(environment):
        if path.is_file() and (found := _from_file(path, host, environment)):
            return found
    return None


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    if own := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(own)
    home = Path(environment.get("HOME", "/nonexistent"))
    yield Path(environment.get("DOCKER_CONFIG", home / ".docker")) / "config.json"
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME", home / ".config")) / "containers" / "auth.json"


def _from_file(path: Path, host: str, environment: Mapping[str, str]) -> Credentials | None:
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise RemoteError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise RemoteError(f"{path} is not a JSON object; docker login writes one")
    keys = [host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/", f"http://{host}"]
    if host in ("docker.io", "registry-1.docker.io"):
        keys = [_HUB_KEY, "docker.io", "index.docker.io"]
    helpers: Mapping[str, str] = config.get("credHelpers") or {}
    auths: Mapping[str, Any] = config.get("auths") or {}
    for key in keys:
        if key in helpers:
            return _from_helper(helpers[key], key, environment)
    if (store := config.get("credsStore")) and (found := _from_helper(store, keys[0], environment)):
        return found
    for key in keys:
        if isinstance(entry := auths.get(key), dict) and (found := _inline(entry, key, path)):
            return found
    return None


def _from_helper(name: str, key: str, environment: Mapping[str, str]) -> Credentials | None:
    """Ask `docker-credential-NAME get` (docker/docker-credential-helpers): JSON on stdout, or rc 1."""
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=key.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
            env=dict(environment),
        )
    except FileNotFoundError as error:
        raise RemoteError(f"the docker configuration wants {program} for {key}, which is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise RemoteError(f"{program} did not answer for {key} within {_HELPER_SECONDS} s") from error
    if done.returncode:
        if b"not found" in done.stdout.lower() + done.stderr.lower():
            return None
        raise RemoteError(f"{program} failed for {key} with status {done.returncode}")
    try:
        answer = json.loads(done.stdout)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError) as error:
        raise RemoteError(f"{program} answered for {key} with something else than Username and Secret") from error
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username=username, password=secret)


def _inline(entry: Mapping[str, Any], key: str, path: Path) -> Credentials | None:
    if token := entry.get("identitytoken"):
        return Credentials(identity_token=token)
    if text := entry.get("auth"):
        try:
            username, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise RemoteError(f"{path}: the auth entry of {key} is not base64 of NAME:PASSWORD") from error
        if not colon:
            raise RemoteError(f"{path}: the auth entry of {key} is not base64 of NAME:PASSWORD")
        return Credentials(username=username, password=password)
    if "username" in entry:
        return Credentials(username=entry["username"], password=entry.get("password", ""))
    return None
