"""The JSON Schema of ModelPack's own specification, as it is published.

modelpack/model-spec, schema/config-schema.json (Apache-2.0) at commit fe63fc3a3ab14ca8f53a51993d543aa113fabc3b, out of
the Python package modelpack-client (Apache-2.0), which ships it unchanged: the digest, in canonical JSON, is that of
the specification's file.
"""

import ast
import hashlib
import json
import zipfile
from typing import Any

from reference import cache

_PACKAGE = "modelpack-client==0.1.0"
_DIGEST = "215866030a0149bb76151003ebb126b7141701cef9bfdf294be9206f360c7add"


def schema() -> Any:
    """The schema; AssertionError where the package holds another one than the specification's."""
    folder = cache.made("modelpack-schema", lambda out: void(cache.download(_PACKAGE, out)))
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        module = ast.parse(wheel.read("modelpack_client/schema.py"))
    (value,) = (ast.literal_eval(node.value) for node in module.body if isinstance(node, ast.AnnAssign) and node.value)
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(canonical).hexdigest() == _DIGEST
    return value


def void(_: object) -> None:
    pass
