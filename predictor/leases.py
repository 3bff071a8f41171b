"""What only one of several replicas may do at a time: a row in the database that runs out."""

import os

import sqlalchemy as sa

from predictor.database import Database, now_s
from predictor.schema import leases


class Lease:
    """One replica's claim to a name; safe to use from many threads.

    Args:
        database: Where replicas meet.
        name: What is claimed.
        duration_s: For how long a claim holds that is not renewed, by the database's clock. A
            replica that is killed keeps the others waiting for so long.
    """

    def __init__(self, database: Database, *, name: str, duration_s: float) -> None:
        self._database = database
        self._name = name
        self._duration_s = duration_s
        self._holder = os.urandom(8).hex()

    def acquire(self) -> bool:
        """Claim it, or renew the claim; tell whether it is ours now."""
        with self._database.writing() as connection:
            at_s = now_s(connection)
            held = connection.execute(
                sa.select(leases).where(leases.c.name == self._name)
            ).one_or_none()
            if held is not None and held.holder != self._holder and held.expires_at_s > at_s:
                return False
            claim = {"holder": self._holder, "expires_at_s": at_s + self._duration_s}
            if held is None:
                connection.execute(leases.insert().values(name=self._name, **claim))
            else:
                connection.execute(leases.update().where(leases.c.name == self._name).values(claim))
        return True

    def release(self) -> None:
        """Let others have it, if it is ours."""
        with self._database.writing() as connection:
            connection.execute(
                leases.delete().where(leases.c.name == self._name, leases.c.holder == self._holder)
            )
