"""The hidden states of one layer of an encoder, and nothing computed after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


class _Reached(Exception):  # noqa: N818
    """A pass came to the layer that it was for."""


class Layer:
    """The states after `number` layers of an encoder of `layers`; after none: the embeddings."""

    def __init__(self, encoder: Module, number: int, layers: int) -> None:
        self._encoder = encoder
        self.number = number
        self._last = self._module(layers)

    def states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Vectors (sentences, sub-words, width); `mask` is 1 where a sub-word is, 0 in padding."""
        if self._last is None:
            return self._all(ids, mask)
        return _until(self._last, lambda: self._encoder(input_ids=ids, attention_mask=mask))

    def _all(self, ids: Tensor, mask: Tensor) -> Tensor:
        inputs = {"input_ids": ids, "attention_mask": mask}
        found: Tensor = self._encoder(**inputs, output_hidden_states=True).hidden_states[
            self.number
        ]
        return found

    def _module(self, layers: int) -> Module | None:
        """The module whose output these states are; none where something is done to it afterwards."""
        import torch

        stacks = (
            module
            for module in self._encoder.modules()
            if isinstance(module, torch.nn.ModuleList) and len(module) == layers
        )
        stack = next(stacks, None)
        if stack is None or not self.number:
            return None
        module: Module = stack[self.number - 1]
        device = next(self._encoder.parameters()).device
        ids = torch.arange(4, device=device)[None] % 3 + 3
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            early = _until(module, lambda: self._encoder(input_ids=ids, attention_mask=mask))
            return module if torch.equal(early, self._all(ids, mask)) else None


def _until(module: Module, run: Any) -> Tensor:
    """What `module` gives when `run` calls it, without what comes after."""
    found: list[Tensor] = []

    def keep(_: Module, __: Any, output: Any) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)
        raise _Reached

    hook = module.register_forward_hook(keep)
    try:
        run()
    except _Reached:
        pass
    finally:
        hook.remove()
    return found[0]
