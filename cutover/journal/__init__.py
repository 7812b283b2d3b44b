"""The journal: runs, their hash-chained entries, leases and requests, in SQLite or PostgreSQL.

Only this package imports SQLAlchemy and Alembic. What an entry means for a run belongs to cutover.history.
"""

from cutover.journal.chain import Head
from cutover.journal.journal import Journal
from cutover.journal.model import KINDS, Board, Entry, Holding, Lease, Request, RunRow, moment
from cutover.journal.tenure import Tenure

__all__ = ["KINDS", "Board", "Entry", "Head", "Holding", "Journal", "Lease", "Request", "RunRow", "Tenure", "moment"]
