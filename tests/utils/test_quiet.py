"""Silence on stderr while libraries are called."""

import os
import threading

from keras_inception.utils.quiet import silenced


def test_threads_take_turns_and_stderr_comes_back(capfd):
    inside, together = threading.Semaphore(0), []

    def work():
        with silenced():
            inside.release()
            together.append(inside.acquire(timeout=0.05) and inside.acquire(timeout=0.05))
            os.write(2, b"noise\n")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"a real error\n")
    assert together == [False, False]
    assert capfd.readouterr().err == "a real error\n"
