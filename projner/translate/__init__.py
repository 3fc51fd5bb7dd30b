"""Text to text: one side translated into the other's language."""

from __future__ import annotations

from projner.translate.stage import Translator, load, resolve

__all__ = ["Translator", "load", "resolve"]
