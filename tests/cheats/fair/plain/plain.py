"""Nothing but honest.py: what every cheat has to beat."""
