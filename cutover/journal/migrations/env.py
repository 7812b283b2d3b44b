"""Where Alembic begins: it migrates on the connection that it is handed, inside that connection's transaction."""

from alembic import context

from cutover.journal.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
