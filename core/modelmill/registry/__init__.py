"""Which plugins are installed, what each offers, and whose every offer is."""

from modelmill.registry.load import RECORDS, load
from modelmill.registry.records import Broken, Offer, Offers, Plugin, Registry

__all__ = ["RECORDS", "Broken", "Offer", "Offers", "Plugin", "Registry", "load"]
