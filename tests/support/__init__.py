"""What several test suites share: networks that lose and delay, nodes as processes, real tables, oracles."""
