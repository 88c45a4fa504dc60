"""Make for models. This is the public face: all that a plugin imports to offer a format, a source or a device.

Its names are imported when they are first used, so that a command that needs none of them starts at once.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelmill.contract import API_VERSION, hookimpl
    from modelmill.errors import (
        ConvertError,
        ModelmillError,
        RemoteError,
        RequestError,
        SignError,
        SourceError,
        TransientError,
    )
    from modelmill.output import create
    from modelmill.types import (
        Converter,
        Estimate,
        Facts,
        Format,
        Hardware,
        HardwareProfile,
        Input,
        Job,
        Limits,
        Lineage,
        Location,
        Opener,
        Outlook,
        PackageJob,
        Packager,
        Publication,
        Published,
        Pulled,
        PullJob,
        Quantizer,
        Refusal,
        Remote,
        Resolution,
        SignerOffer,
        Source,
        SourceFile,
        Stream,
        Tensor,
        TensorData,
        Toolchain,
    )

__all__ = [
    "API_VERSION",
    "ConvertError",
    "Converter",
    "Estimate",
    "Facts",
    "Format",
    "Hardware",
    "HardwareProfile",
    "Input",
    "Job",
    "Limits",
    "Lineage",
    "Location",
    "ModelmillError",
    "Opener",
    "Outlook",
    "PackageJob",
    "Packager",
    "Publication",
    "Published",
    "PullJob",
    "Pulled",
    "Quantizer",
    "Refusal",
    "Remote",
    "RemoteError",
    "RequestError",
    "Resolution",
    "SignError",
    "SignerOffer",
    "Source",
    "SourceError",
    "SourceFile",
    "Stream",
    "Tensor",
    "TensorData",
    "Toolchain",
    "TransientError",
    "create",
    "hookimpl",
]

_HOMES = {
    "modelmill.contract": ("API_VERSION", "hookimpl"),
    "modelmill.errors": (
        "ConvertError",
        "ModelmillError",
        "RemoteError",
        "RequestError",
        "SignError",
        "SourceError",
        "TransientError",
    ),
    "modelmill.output": ("create",),
}
"""Where the public names that are not records live; records live in `modelmill.types`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "modelmill.types")
    value = getattr(importlib.import_module(home), name)
    contract = importlib.import_module("modelmill.contract")
    if name in contract.DEPRECATED:
        contract.warn(name, stacklevel=2)
    else:
        globals()[name] = value
    return value
