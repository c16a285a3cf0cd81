"""Minimum s-t cut, by Dinic's algorithm (E. A. Dinic, 1970)."""

from __future__ import annotations

from collections import deque


class MinCut:
    """A flow network over numbered vertices, with a source and a sink of its own."""

    SOURCE = 0
    SINK = 1

    def __init__(self) -> None:
        self._heads: list[list[int]] = [[], []]
        self._target: list[int] = []
        self._capacity: list[float] = []

    def vertex(self) -> int:
        """A new vertex."""
        self._heads.append([])
        return len(self._heads) - 1

    def edge(self, start: int, end: int, capacity: float) -> None:
        """Charge `capacity` when `start` is on the source's side and `end` on the sink's."""
        for a, b, c in ((start, end, capacity), (end, start, 0.0)):
            self._heads[a].append(len(self._target))
            self._target.append(b)
            self._capacity.append(c)

    def sink_side(self) -> set[int]:
        """Vertices that a cheapest cut leaves on the sink's side."""
        while (levels := self._levels())[self.SINK] >= 0:
            arcs = [0] * len(self._heads)
            while self._augment(levels, arcs):
                pass
        return {vertex for vertex, level in enumerate(levels) if level < 0}

    def _levels(self) -> list[int]:
        levels = [-1] * len(self._heads)
        levels[self.SOURCE] = 0
        queue = deque([self.SOURCE])
        while queue:
            vertex = queue.popleft()
            for edge in self._heads[vertex]:
                end = self._target[edge]
                if self._capacity[edge] > 0 and levels[end] < 0:
                    levels[end] = levels[vertex] + 1
                    queue.append(end)
        return levels

    def _augment(self, levels: list[int], arcs: list[int]) -> bool:
        """Push flow along one shortest path, walking without recursion."""
        path: list[int] = []
        vertex = self.SOURCE
        while vertex != self.SINK:
            edge = self._next_edge(vertex, levels, arcs)
            if edge is not None:
                path.append(edge)
                vertex = self._target[edge]
            elif path:
                back = path.pop()
                vertex = self._target[back ^ 1]
                arcs[vertex] += 1
            else:
                return False
        flow = min(self._capacity[edge] for edge in path)
        for edge in path:
            self._capacity[edge] -= flow
            self._capacity[edge ^ 1] += flow
        return True

    def _next_edge(self, vertex: int, levels: list[int], arcs: list[int]) -> int | None:
        heads = self._heads[vertex]
        while arcs[vertex] < len(heads):
            edge = heads[arcs[vertex]]
            if self._capacity[edge] > 0 and levels[self._target[edge]] == levels[vertex] + 1:
                return edge
            arcs[vertex] += 1
        return None
