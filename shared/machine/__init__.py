"""The machine: what it is, which target it belongs to, and the locks on its devices."""
