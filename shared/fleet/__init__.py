"""What the fleet's processes agree on: outcomes of jobs, names of keys, and the few steps that must be atomic.

Nothing here imports redis: worker and console bring their own connection. docs/fleet.md tells the whole story.
"""

OLDEST_REDIS = (7, 0)
"""the access rules of a hub need its selectors and read-only keys; every Valkey has them"""
