"""Alembic's entry point: migrates over the connection, and in the transaction, that ``migrate`` hands over."""

from alembic import context

from daemon.stores.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # the transaction is ours: without this Alembic would take SQLite for a database that cannot roll back a table
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a column by copying its table
)
context.run_migrations()
