"""Unattended sweeps: a list of settings or a search space, run for some hours, here or through a fleet's queue.

plan (what a TOML file asks for) -> proposals (what to try next) -> night (the loop) -> a place that runs experiments.
Everything is on disk before it is begun, so that any process may be killed and started again.
"""
