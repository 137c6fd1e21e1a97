"""The worker's recorder (recorder.py) as a process of its own, which is started again when it ends by itself."""

import subprocess
import sys
import threading

from shared.sandbox.parent_death import dies_with_parent
from shared.settings import CHECKOUT

END_TIMEOUT_S = 10.0
AGAIN_S = 5.0
"""before it is started again: one that cannot start at all would keep the machine busy"""


class RecorderProcess:
    """A context manager. Leaving it lets the recorder take what waits, if MLflow answers."""

    def __init__(self, device: str):
        self.device = device
        self._ending, self._starting = threading.Event(), threading.Lock()
        self._watching = threading.Thread(target=self._start_again, name="recorder", daemon=True)
        self._process: subprocess.Popen

    def __enter__(self) -> "RecorderProcess":
        self._process = self._start()
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._ending.set()
        self._process.terminate()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> subprocess.Popen:
        command = dies_with_parent([sys.executable, "-m", "services.worker.recorder", self.device])
        # a session of its own: Ctrl-C and the end of its group are the worker's, which then ends the recorder
        return subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )

    def _start_again(self) -> None:
        while True:
            code = self._process.wait()
            if self._ending.is_set():
                return
            said = f"worker: the recorder ended with code {code}, so another one is started in {AGAIN_S:g} s"
            print(said, file=sys.stderr, flush=True)
            self._ending.wait(AGAIN_S)
            with self._starting:
                if self._ending.is_set():
                    return
                self._process = self._start()
