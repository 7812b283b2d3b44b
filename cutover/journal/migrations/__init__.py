"""The history of the schema, for Alembic. A migration only adds: a journal is evidence, and the newest code reads all of it."""
