"""Entry of the process that runs a recipe's forward function: fenced before anything else is imported.

python -m services.evaluator.recipe_process DESCRIPTOR     (only the evaluator starts it)
"""

import sys

from shared.sandbox.serving import serve

if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), "services.evaluator.server"))
