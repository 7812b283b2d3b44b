"""`python -m cutover` is the command `cutover`."""

from cutover.cli import main

if __name__ == "__main__":
    main()
