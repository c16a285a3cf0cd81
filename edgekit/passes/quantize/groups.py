"""Sets of tensors that share one scale."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Groups:
    """A union-find over keys, with what is known of each set.

    Attributes:
        ranges: (low, high) of each set's root, over the members that have a range.
        fixed: (scale, zero point) of each set's root, where a member's are fixed.
    """

    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    fixed: dict[str, tuple[float, int]] = field(default_factory=dict)
    _parent: dict[str, str] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    def find(self, key: str) -> str:
        """The root that stands for a key's set."""
        root = key
        while (above := self._parent.get(root, root)) != root:
            root = above
        while key != root:
            above = self._parent.get(key, key)
            self._parent[key] = root
            key = above
        return root

    def widen(self, key: str, low: float, high: float) -> None:
        """Make a set's range hold another one."""
        root = self.find(key)
        have = self.ranges.get(root, (low, high))
        self.ranges[root] = (min(have[0], low), max(have[1], high))

    def fix(self, key: str, scale: float, zero_point: int) -> None:
        """Fix the parameters of a key's set."""
        self.fixed[self.find(key)] = (scale, zero_point)

    def parameters(self, key: str) -> tuple[float, int] | None:
        """The fixed parameters of a key's set."""
        return self.fixed.get(self.find(key))

    def size(self, key: str) -> int:
        """How many keys a set has."""
        return self._sizes.get(self.find(key), 1)

    def join(self, first: str, second: str) -> None:
        """Make two sets one. At most one of them has fixed parameters, or both the same."""
        keep, gone = self.find(first), self.find(second)
        if keep == gone:
            return
        self._sizes[keep] = self.size(keep) + self.size(gone)
        self._parent[gone] = keep
        if (span := self.ranges.pop(gone, None)) is not None:
            self.widen(keep, *span)
        if (fixed := self.fixed.pop(gone, None)) is not None:
            self.fixed.setdefault(keep, fixed)
