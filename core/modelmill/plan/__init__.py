"""Targets → the graph of steps that they need, decided before anything runs."""

from modelmill.plan.plan import plan
from modelmill.plan.records import Leaf, Plan, PlannedTarget, Step

__all__ = ["Leaf", "Plan", "PlannedTarget", "Step", "plan"]
