"""Words to entities and to label probabilities."""

from __future__ import annotations

from projner.label.stage import Labeller

__all__ = ["Labeller"]
