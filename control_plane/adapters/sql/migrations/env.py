"""Alembic's entry: runs the migrations on the connection that it is given. Not for Alembic's command line."""

from alembic import context

from control_plane.adapters.sql.schema import tables_for

connection = context.config.attributes["connection"]
tables = tables_for(connection.dialect.name)
context.configure(connection=connection, target_metadata=tables, transactional_ddl=False)
context.run_migrations()
