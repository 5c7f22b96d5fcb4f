"""What a pipeline needs of a loss."""

from __future__ import annotations

from typing import Any, Protocol


class Criterion(Protocol):
    """A loss, such as `CrossEntropy`."""

    def forward(self, scores: Any, targets: Any) -> tuple[float, Any]:
        """Return the summed loss, and what `backward` needs."""

    def backward(self, saved: Any, dy: float) -> Any:
        """Return the gradient with respect to the scores."""
