"""Run by Alembic, which looks for a script of this name."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
