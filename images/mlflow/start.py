"""Starts MLflow's server from secrets that are files; the image runs nothing else.

MLFLOW_HOSTS    names the server may be called by, host:port, comma-separated; others get a 403
MLFLOW_USERS    on: every request needs a password, admin writes (workers), viewer reads (people). off: nobody is asked
"""

import os
from pathlib import Path

SECRETS = Path("/run/secrets")
USERS = "sqlite:////data/users.db"
AUTH_CONFIG = Path("/tmp/auth.ini")


def main() -> None:
    # in the environment, not in the command line, which every process of the host may read
    os.environ["MLFLOW_BACKEND_STORE_URI"] = f"postgresql://mlflow:{secret('database_password')}@database/postgres"
    command = ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "2"]
    command += ["--artifacts-destination", "/data/artifacts", "--allowed-hosts", os.environ["MLFLOW_HOSTS"]]
    if os.environ["MLFLOW_USERS"] == "on":
        prepare_users()
        command += ["--app-name", "basic-auth"]
    os.execvp(command[0], command)


def secret(name: str) -> str:
    return (SECRETS / name).read_text().strip()


def prepare_users() -> None:
    """Both users with the passwords of the secrets, also after those changed. Passwords are looked up once a minute."""
    settings = {
        "default_permission": "READ",
        "database_uri": USERS,
        "auth_cache_ttl_seconds": 60,
        "admin_username": "admin",
    }
    AUTH_CONFIG.write_text("[mlflow]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
    os.environ["MLFLOW_AUTH_CONFIG_PATH"] = str(AUTH_CONFIG)
    os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"] = secret("mlflow_admin_password")
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secret("mlflow_session_key")
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(USERS)
    for name, is_admin in (("admin", True), ("viewer", False)):
        password = secret(f"mlflow_{name}_password")
        if store.has_user(name):
            store.update_user(name, password=password)
        else:
            store.create_user(name, password, is_admin=is_admin)


if __name__ == "__main__":
    main()
