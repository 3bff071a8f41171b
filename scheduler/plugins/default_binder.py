"""DefaultBinder: has the scheduler write the Binding."""

from scheduler.framework.interface import BindPlugin
from scheduler.framework.status import SUCCESS, Status
from scheduler.model import PodFacts


class DefaultBinder(BindPlugin):
    """Takes every pod."""

    name = "DefaultBinder"

    def bind(self, pod: PodFacts, *, node: str) -> Status:
        """Agree."""
        return SUCCESS
