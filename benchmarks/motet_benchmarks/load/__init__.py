"""Servers under load on their public API: arrivals that wait for nobody, latency by percentile, goodput."""
