"""`python -m privcompute` is the command `privcompute`."""

from __future__ import annotations

from privcompute.cli import main

if __name__ == "__main__":
    main()
