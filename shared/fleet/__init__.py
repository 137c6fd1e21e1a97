"""What the fleet's processes agree on: outcomes of jobs, names of keys, and the few steps that must be atomic.

Nothing here imports redis: worker and console bring their own connection. docs/fleet.md tells the whole story.
"""
