"""Benchmarks: peers are parameters, figures are ratios within one run."""
