"""Devices: their profiles, this machine, and what fits and runs well on them."""
