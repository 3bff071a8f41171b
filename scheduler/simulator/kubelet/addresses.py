"""Addresses of nodes and pods: unique, and the same for the same order of events."""

from collections.abc import Container


class Addresses:
    """Gives each node an address and a /24 for its pods, in the order in which nodes come."""

    def __init__(self) -> None:
        self._indices: dict[str, int] = {}

    def index_of(self, node: str) -> int:
        """The node's number, from 0; a name keeps its number for ever."""
        return self._indices.setdefault(node, len(self._indices))

    def node_ip(self, node: str) -> str:
        """The node's own address."""
        number = self.index_of(node) + 2
        return f"172.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}"

    def pod_cidr(self, node: str) -> str:
        """The network of the node's pods."""
        return f"{self._prefix(node)}.0/24"

    def free_pod_ip(self, node: str, *, taken: Container[str]) -> str:
        """The lowest address of the node's network that is not *taken*, or the last one."""
        addresses = (f"{self._prefix(node)}.{last}" for last in range(2, 255))
        return next((ip for ip in addresses if ip not in taken), f"{self._prefix(node)}.254")

    def _prefix(self, node: str) -> str:
        index = self.index_of(node)
        return f"10.{10 + index // 256}.{index % 256}"
