"""MLflow's image: the server with its database driver and its users; no framework, no compiler, not our code."""

from pathlib import Path

from checks import expect_harmless_user, expect_no_module, expect_no_program, expect_pinned_versions

expect_pinned_versions("mlflow", "psycopg", "flask-wtf")
expect_no_module("torch", "mlx", "redis", "rq", "shared", "services", "pytest")
expect_no_program("gcc", "cc", "git", "curl")
expect_harmless_user()

import mlflow.server.auth.sqlalchemy_store  # noqa: E402
import psycopg  # noqa: E402

assert psycopg.pq.version()
assert mlflow.__version__
assert Path("/start.py").stat().st_uid == 0
