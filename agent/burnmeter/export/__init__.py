"""Views of one frozen Snapshot: Prometheus text, the live page, JSON."""
