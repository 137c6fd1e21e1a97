"""Evaluation fidelity: rungs and what they cost on this machine."""
