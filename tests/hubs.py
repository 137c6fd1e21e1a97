"""The queue exactly as a hub starts it, for tests: its program, its options, its two users."""

import subprocess
from pathlib import Path

from services.hub.credentials import Hub, acl, keep_credentials
from services.hub.queue_program import QueueProgram, command, find_program
from tests.fleet import RedisServer, free_port, wait_for


class HubQueue(RedisServer):
    """`connection` is the worker's."""

    def __init__(self, folder: Path, program: QueueProgram | None = None):
        folder.mkdir(parents=True)
        self.program, self.folder, self.port = program or find_program(), folder, free_port()
        self.place = Hub(bind="127.0.0.1", redis_port=self.port, mlflow_port=1, data=folder)
        self.env_file = folder / ".env"
        self.credentials = keep_credentials(self.env_file, self.place)
        self.agent_url = f"redis://agent:{self.credentials.agent}@{self.place.redis_address}/0"
        self.worker_url = self.url = f"redis://worker:{self.credentials.worker}@{self.place.redis_address}/0"
        (folder / "users.acl").write_text(acl(self.credentials))
        self.start()

    def start(self) -> None:
        with open(self.folder / "redis.log", "ab") as log:
            argv = command(self.program, self.place, self.folder)
            self.process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self.answers)
