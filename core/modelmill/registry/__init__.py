"""Which plugins are installed, what each offers, and whose every offer is."""

from modelmill.registry.load import RECORDS, load
from modelmill.registry.records import Broken, Offer, Offers, Plugin, Registry, gives, takes
from modelmill.registry.tables import OWN, Reader, fill, reader, table_fault

__all__ = [
    "OWN",
    "RECORDS",
    "Broken",
    "Offer",
    "Offers",
    "Plugin",
    "Reader",
    "Registry",
    "fill",
    "gives",
    "load",
    "reader",
    "table_fault",
    "takes",
]
