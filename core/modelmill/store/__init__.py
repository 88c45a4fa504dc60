"""Results of steps by key, sources by digest: what is in the store is whole, or it is not there."""

from modelmill.store.index import StatIndex
from modelmill.store.locks import Lock
from modelmill.store.place import store_folder
from modelmill.store.store import Examined, Result, Store, Workspace

__all__ = ["Examined", "Lock", "Result", "StatIndex", "Store", "Workspace", "store_folder"]
