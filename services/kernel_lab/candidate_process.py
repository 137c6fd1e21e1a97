"""Entry of the process that runs a candidate: fenced before a framework or the candidate is imported.

python -m services.kernel_lab.candidate_process DESCRIPTOR     (only the lab starts it)
"""

import sys

from shared.sandbox.serving import serve

if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1]), "services.kernel_lab.server"))
