"""TensorFlow loaded without its chatter: what it writes to stderr on the way shows only if loading fails."""

from __future__ import annotations

import os
import sys
import tempfile

from cxrkeras.errors import UsageError


def load_tensorflow() -> None:
    """Import TensorFlow and Keras and look for devices, with file descriptor 2 set aside meanwhile.

    The lines come from C++ before its own log level is read, so no Python setting reaches them.
    """
    if "tensorflow" in sys.modules:
        return
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UsageError(f"KERAS_BACKEND is {backend}. Expected tensorflow, which cxrkeras needs; unset it.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            # every run of a study compiles its own functions, which TensorFlow takes for a mistake
            tf.get_logger().setLevel("ERROR")
            tf.config.list_physical_devices()
            tf.constant(0.0)
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
