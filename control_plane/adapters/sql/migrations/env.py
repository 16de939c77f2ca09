"""Alembic's entry: runs the migrations on the connection that it is given. Not for Alembic's command line."""

from alembic import context

from control_plane.adapters.sql.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
