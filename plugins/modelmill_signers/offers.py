"""The key schemes that build.toml may name, each opened by a function that imports what it needs when it is called."""

from pathlib import Path

from modelmill import SignerOffer
from modelmill_artifacts.keys import PublicKey
from modelmill_artifacts.signature import Signer


def _file(key: str, base: Path) -> Signer:
    from modelmill_signers import pem

    return pem.open_file(base / Path(key).expanduser())


def _create_file(key: str, base: Path, password: str | None) -> PublicKey:
    from modelmill_signers import create

    return create.new(base / Path(key).expanduser(), password)


def _files_of_file(key: str, base: Path) -> tuple[Path, ...]:
    return (base / Path(key).expanduser(),)


def _files_of_development(key: str, base: Path) -> tuple[Path, ...]:  # noqa: ARG001
    from modelmill_signers import development

    return (development.path(),)


def _environment(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import pem

    return pem.open_variable(key)


def _development(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import development

    return development.open_key()


def _token(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import services

    return services.open_token(key)


def _aws(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import services

    return services.open_service("awskms", key)


def _google(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import services

    return services.open_service("gcpkms", key)


def _azure(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import services

    return services.open_service("azurekms", key)


def _vault(key: str, base: Path) -> Signer:  # noqa: ARG001
    from modelmill_signers import vault

    return vault.open_key(key)


OFFERS = (
    SignerOffer(scheme="file", open=_file, create=_create_file, files=_files_of_file),
    SignerOffer(scheme="env", open=_environment),
    SignerOffer(scheme="development", open=_development, files=_files_of_development),
    SignerOffer(scheme="hsm", open=_token, requirement="modelmill[pkcs11]"),
    SignerOffer(scheme="awskms", open=_aws, requirement="modelmill[kms]"),
    SignerOffer(scheme="gcpkms", open=_google, requirement="modelmill[kms]"),
    SignerOffer(scheme="azurekms", open=_azure, requirement="modelmill[kms]"),
    SignerOffer(scheme="vault", open=_vault),
)
