"""What is known of ideas: the book that holds them, which runs are evidence, the rule that judges them, the views.

Imports neither Redis nor MLflow; whoever uses it brings a connection. docs/research-loop.md tells the whole story.
"""
