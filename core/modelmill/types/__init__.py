"""The values that cross between the engine and its plugins: frozen, and plain data."""

from modelmill.types.delivery import PackageJob, Packager, Publication, Published, Pulled, PullJob, Remote
from modelmill.types.hardware import Hardware, HardwareProfile
from modelmill.types.model import Facts, Format, Tensor, TensorData
from modelmill.types.signing import SignerOffer
from modelmill.types.sources import Location, Opener, Resolution, Source, SourceFile, Stream
from modelmill.types.steps import (
    Converter,
    Estimate,
    Input,
    Job,
    Limits,
    Lineage,
    Maker,
    Options,
    Outlook,
    Quantizer,
    Refusal,
    Toolchain,
)

__all__ = [
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
    "Maker",
    "Opener",
    "Options",
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
    "Resolution",
    "SignerOffer",
    "Source",
    "SourceFile",
    "Stream",
    "Tensor",
    "TensorData",
    "Toolchain",
]
