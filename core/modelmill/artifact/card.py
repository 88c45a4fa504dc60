"""The model card of an artifact: what it is, where it comes from, how to run it, what its licence asks."""

from modelmill_artifacts import licence as licences
from modelmill_artifacts.manifest import Manifest

CARD = "README.md"


def card(manifest: Manifest, description: str | None) -> str:
    """Markdown with the front matter that model hubs read; nothing in it depends on where or when it was made."""
    base = next((source for source in manifest.sources if source.role == "model"), None)
    lines = ["---"]
    if manifest.licence is not None:
        lines.append(f"license: {manifest.licence.lower()}")
    if base is not None and base.uri.startswith("hf://"):
        lines += [f"base_model: {base.uri.removeprefix('hf://').partition('@')[0]}", "base_model_relation: quantized"]
    lines += ["---", "", f"# {manifest.name} {manifest.version} ({manifest.target})", ""]
    if description:
        lines += [f"{description}.", ""]
    lines += [f"- format: {manifest.format} {manifest.scheme or ''}".rstrip()]
    lines += [f"- parameters: {manifest.parameters:,}, {manifest.bits_per_weight:.2f} bits per weight"]
    if manifest.architecture:
        lines.append(f"- architecture: {manifest.architecture}")
    if manifest.hardware is not None:
        lines.append(f"- made for: {manifest.hardware.profile}")
    lines += [f"- {source.role}: {source.uri} at {source.revision}" for source in manifest.sources]
    if manifest.flags.requantized:
        lines.append("- its weights had been quantized before, and were quantized again")
    if manifest.flags.experimental:
        lines.append("- experimental: not for production")
    lines += [f"- {note}" for note in manifest.notes]
    if manifest.usage:
        lines += ["", "Run it:", "", "```sh", manifest.usage, "```"]
    if manifest.licence is not None:
        lines += ["", f"Licence: {manifest.licence}."]
        lines += [f"- {duty}" for duty in licences.obligations(manifest.licence)]
    return "\n".join(lines) + "\n"
