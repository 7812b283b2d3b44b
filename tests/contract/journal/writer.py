"""A driver as a process of its own, for tests that hammer and kill: takes the lease, writes entries, lets it go, again and again.

Prints a JSON line for each lease (`epoch`, `from`, `to` by the machine's monotonic clock) and each entry (`seq`, `hash`).
"""

import json
import sys
import time

from cutover.errors import LeaseLost
from cutover.journal import Journal, Tenure


def main(url: str, holder: str, tenures: int, entries: int, ttl_seconds: float) -> None:
    with Journal.open(url) as journal:
        while tenures:
            try:
                driver = Tenure.take(journal, "orders", holder, ttl_seconds)
            except LeaseLost:
                continue  # what is tested is the crowd at the door
            tenures -= 1
            _drive(driver, holder, entries)


def _drive(driver: Tenure, holder: str, entries: int) -> None:
    began = time.monotonic()
    for number in range(entries):
        entry = driver.write("note", "soaking", "hammer", {"number": number})
        _say(seq=entry.seq, hash=entry.hash, holder=holder, epoch=entry.lease_epoch)
    ended = time.monotonic()
    driver.release()
    _say(epoch=driver.lease.epoch, began=began, ended=ended)


def _say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
