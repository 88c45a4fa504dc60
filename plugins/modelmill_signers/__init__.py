"""Ways to sign: key files, environment variables, PKCS#11 tokens, key services."""

from collections.abc import Iterable

from modelmill import SignerOffer, hookimpl
from modelmill_signers import offers

MODELMILL_API = 1


@hookimpl
def modelmill_signers() -> Iterable[SignerOffer]:
    """The key schemes that this plugin opens."""
    return offers.OFFERS
