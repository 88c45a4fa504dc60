"""The statement of an OpenSSF Model Signing signature: every file of a folder by its digest.

The predicate is `https://model_signing/signature/v1.0` of sigstore/model-transparency
(docs/model_signing_format.md), with the method `files`, sha256, no symbolic link and nothing ignored.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from modelmill_artifacts import canonical, paths
from modelmill_artifacts.errors import ArtifactError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"


def statement(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """The statement over files, given the hexadecimal sha256 of each by its path.

    Its one subject is the sha256 of all raw digests in the order of the paths; `name` is for people only.
    """
    order = sorted(digests)
    root = hashlib.sha256(b"".join(bytes.fromhex(digests[path]) for path in order))
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": PREDICATE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": [],
            },
            "resources": [{"name": path, "algorithm": "sha256", "digest": digests[path]} for path in order],
        },
    }


def payload(name: str, digests: Mapping[str, str]) -> bytes:
    """The bytes of the statement that are signed."""
    return canonical.dumps(statement(name, digests))


def read(value: Mapping[str, Any], where: str) -> dict[str, str]:
    """The digest of each file that a statement covers; raises ArtifactError unless `statement` gives it."""
    try:
        name = value["subject"][0]["name"]
        listed = [(item["name"], item["digest"]) for item in value["predicate"]["resources"]]
        digests = dict(listed)
        same = statement(name, digests) == value and isinstance(name, str)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{where}: not an OpenSSF Model Signing statement") from error
    paths.check_all([path for path, _ in listed], where)
    if not same:
        raise ArtifactError(f"{where}: not an OpenSSF Model Signing statement of method 'files' over sha256")
    return digests
