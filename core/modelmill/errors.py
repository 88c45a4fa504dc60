"""Every error that the engine and its plugins raise for a person to read."""

from modelmill_artifacts.errors import ModelmillError

__all__ = [
    "ConfigError",
    "ConvertError",
    "MissingToolError",
    "ModelmillError",
    "PlanError",
    "PluginError",
    "RecipeError",
    "RemoteError",
    "RequestError",
    "SignError",
    "SourceError",
    "StepError",
    "StoreError",
    "TransientError",
]


class ConfigError(ModelmillError):
    """build.toml, or what the command line names, is wrong."""

    exit_code = 2


class ConvertError(ModelmillError):
    """What a converter or quantizer was given cannot be converted: the one error that a plugin raises."""

    exit_code = 2


class RecipeError(ModelmillError):
    """A recipe is not one, or cannot say what type a tensor gets."""

    exit_code = 2


class SignError(ModelmillError):
    """A key cannot be opened or does not sign."""

    exit_code = 2


class SourceError(ModelmillError):
    """A source cannot be resolved or fetched, or is not what the lock says."""

    exit_code = 2


class TransientError(SourceError):
    """A source fails now and may work in a moment; `after` is how many seconds it asks to wait."""

    def __init__(self, sentence: str, after: float | None = None) -> None:
        super().__init__(sentence)
        self.after = after


class RemoteError(ModelmillError):
    """A registry or another remote refuses, fails, or serves something other than what was published."""


class RequestError(RemoteError):
    """What a remote was asked for is no reference, or not among what a release has."""

    exit_code = 2


class PlanError(ModelmillError):
    """A target cannot be built as it is asked for."""

    exit_code = 2


class MissingToolError(ModelmillError):
    """A step's tools are not installed; the sentence holds the command that installs them."""

    exit_code = 2


class ToolchainError(MissingToolError):
    """A toolchain cannot be resolved, or its environment cannot be made."""


class PluginError(ModelmillError):
    """A plugin breaks the contract; the sentence names its distribution and version."""


class StepError(ModelmillError):
    """A step crashed, hung or was killed; the sentence names step, plugin and log."""


class StoreError(ModelmillError):
    """The store cannot be read or written."""
