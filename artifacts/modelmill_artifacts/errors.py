"""The root of every error that modelmill shows to a person as one sentence."""


class ModelmillError(Exception):
    """Something a person can act on: says which name in which file, what was found, what to do.

    `exit_code` is what the command line ends with: 2 where the user's input is wrong, 1 where the work
    failed.
    """

    exit_code = 1


class ArtifactError(ModelmillError):
    """An artifact or a release is not what it says it is."""


class InputError(ArtifactError):
    """What a verifier was given to check with, a key or a policy, cannot be read or is none."""

    exit_code = 2
