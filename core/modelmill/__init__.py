"""Make for models. This is the public face: all that a plugin imports to offer a format, a source or a device."""

import pluggy

from modelmill.errors import ConvertError, ModelmillError, RemoteError, SignError, SourceError
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
    Location,
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
    Tensor,
    TensorData,
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
    "Location",
    "ModelmillError",
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
    "Resolution",
    "SignError",
    "SignerOffer",
    "Source",
    "SourceError",
    "SourceFile",
    "Tensor",
    "TensorData",
    "create",
    "hookimpl",
]

API_VERSION = 1
"""The version of the plugin contract. It grows only when a plugin written for the one before may break."""

hookimpl = pluggy.HookimplMarker("modelmill")
"""Marks a plugin's function as the implementation of a hook in `modelmill.hookspecs`."""
