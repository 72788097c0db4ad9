"""The command line. `main` is the console script; every command's code is imported when it runs."""

from __future__ import annotations


def main() -> None:
    """Run the command in sys.argv and exit with its status."""
    from privcompute.cli.app import root

    root.main(prog_name="privcompute")
