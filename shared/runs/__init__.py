"""Run directories: what lies in one, which there are, and the checkpoints in them."""
