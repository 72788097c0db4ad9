"""Sums over many holders that no one sees the parts of: double-masked sums, a star of links around a collector."""
