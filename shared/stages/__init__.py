"""Stages of an experiment: who starts one, and how its files travel to it and back."""
