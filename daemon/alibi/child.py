"""The process in which alibi-detect runs: started by ``process.py`` with the interpreter of an environment of its own.

It imports nothing of driftd, which that environment does not have. Its standard input is a socket, on which it is asked
and answers: four bytes of length, then JSON. It ends with whoever started it, because then the socket does. Answers
depend on what was asked alone: whatever is random is seeded.
"""

import io
import json
import os
import queue
import resource
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from typing import Any

SEED = 11
SIMULATIONS = 10
"""Of alibi-detect's bootstrap, for each row of the expected run time."""
LENGTH = struct.Struct(">I")
AT_ONCE = 64
"""Streams that are simulated at the same time, for CVM: more of them take more memory, and no less time."""

Rows = Any
Answer = Callable[[Rows], list[list[float]]]


class Drift:
    """One of alibi-detect's online detectors, with the thresholds it was once given, in bounded memory."""

    def __init__(self, kind: str, parameters: dict[str, Any], reference: Rows, calibration: dict[str, Any]) -> None:
        self._kind = kind
        self._keep = int(parameters["window_size"])
        seeded()
        self.detector = make(kind, parameters, reference, calibration)

    def answer(self, rows: Rows) -> list[list[float]]:
        """Whether each row is flagged: for each signal, or with MMD and LSDD for all together."""
        return [self._flags(row) for row in rows]

    def _flags(self, row: Rows) -> list[float]:
        import numpy as np

        detector = self.detector
        if self._kind == "fet":
            # where a statistic is as large as its threshold, it is tossed up: the same way for the same rows
            np.random.seed(zlib.crc32(np.packbits(detector.xs[-self._keep :] > 0).tobytes()))  # noqa: NPY002
            row = row > 0
        found = detector.predict(row)["data"]
        if self._kind == "cvm":
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # windows that are not full yet
                flags = np.nanmax(found["test_stat"], axis=0) > found["threshold"]
            answer = [float(flag) for flag in flags]
        else:
            answer = [float(found["is_drift"])]
        self._cut()
        return answer

    def _cut(self) -> None:
        """alibi-detect keeps every row and every statistic for ever; it looks at the last ones only."""
        detector = self.detector
        detector.test_stats = detector.test_stats[-1:]
        detector.drift_preds = detector.drift_preds[-1:]
        if hasattr(detector, "xs"):
            detector.xs = detector.xs[-self._keep :]


class Outliers:
    """One of alibi-detect's outlier detectors, fitted to rows once: it does not learn from those that it scores."""

    def __init__(self, kind: str, parameters: dict[str, Any], reference: Rows) -> None:
        seeded()
        if kind == "isolation_forest":
            from alibi_detect.od.isolationforest import IForest

            forest = IForest(threshold=0.0, n_estimators=int(parameters["n_estimators"]))
            forest.fit(reference)
            self._score: Callable[[Rows], Rows] = forest.score
        else:
            from alibi_detect.od.mahalanobis import Mahalanobis

            self._distance = Mahalanobis(threshold=0.0, n_components=int(parameters["n_components"]))
            self._distance.score(reference)
            self._learned = dict(vars(self._distance))
            self._score = self._distances

    def _distances(self, rows: Rows) -> list[float]:
        scores = []
        for row in rows:  # one by one: its answers depend on the rows of the same call
            vars(self._distance).update(self._learned)
            scores.append(self._distance.score(row[None])[0])
        return scores

    def answer(self, rows: Rows) -> list[list[float]]:
        """The score of each row: higher is stranger."""
        return [[float(score)] for score in self._score(rows)]


def make(
    kind: str, parameters: dict[str, Any], reference: Rows, calibration: dict[str, Any] | None, ert: float = 100.0
) -> Any:
    """An online detector; it finds thresholds of its own where there is no ``calibration``, which takes long."""
    size = int(parameters["window_size"])
    bootstraps = {"ert": ert, "n_bootstraps": max(int(SIMULATIONS * ert), 100), "verbose": False}
    if kind == "cvm":
        from alibi_detect.cd.cvm_online import CVMDriftOnline as Base

        told = {"window_sizes": [max(size // 4, 2), size], "batch_size": AT_ONCE}
    elif kind == "fet":
        from alibi_detect.cd.fet_online import FETDriftOnline as Base

        reference = reference > 0
        told = {"window_sizes": [max(size // 4, 2), size]}
    elif kind == "mmd":
        from alibi_detect.cd.tensorflow.mmd_online import MMDDriftOnlineTF as Base

        told = {"window_size": size}
    else:
        from alibi_detect.cd.tensorflow.lsdd_online import LSDDDriftOnlineTF as Base

        told = {"window_size": size}
    if kind in {"mmd", "lsdd"}:
        reference = reference.astype("float32")
    if calibration is None:
        return Base(reference, **bootstraps, **told)

    found = arrays(calibration)

    class Calibrated(Base):  # type: ignore[misc]
        def _configure_thresholds(self) -> None:
            for name, value in found.items():
                setattr(self, name, value)

    return Calibrated(reference, **bootstraps, **told)


CALIBRATED = {
    "cvm": ("thresholds",),
    "fet": ("thresholds", "permit_probs"),
    "mmd": ("thresholds",),
    "lsdd": ("thresholds", "H_lam_inv"),
}
"""What is found by simulation, and is stored by whoever asked for it."""


def calibrate(kind: str, parameters: dict[str, Any], reference: Rows, ert: float, held_out: Rows) -> dict[str, Any]:
    """What has to be found out once: the thresholds of an online detector, an outlier detector's normal scores."""
    if kind not in CALIBRATED:
        return {"scores": [score for (score,) in Outliers(kind, parameters, reference).answer(held_out)]}
    seeded()
    # the law of CVM's statistic is the same for every feature
    detector = make(kind, parameters, reference[:, :1] if kind == "cvm" else reference, None, ert)
    return {name: plain(getattr(detector, name)) for name in CALIBRATED[kind]}


def plain(values: Any) -> Any:
    """An array as lists; what is no number is None, because JSON has no other word for it."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, None).tolist()  # type: ignore[call-overload]


def arrays(calibration: dict[str, Any]) -> dict[str, Any]:
    """The reverse of ``plain``. A chance that is missing is that of a threshold no statistic is equal to."""
    import numpy as np

    found = {name: np.array(values, dtype=np.float64) for name, values in calibration.items()}
    if "permit_probs" in found:
        found["permit_probs"] = np.nan_to_num(found["permit_probs"], nan=np.inf)
        found["thresholds"] = found["thresholds"].astype(np.float32)  # what it is compared with for equality
    if "H_lam_inv" in found:
        found["H_lam_inv"] = found["H_lam_inv"].astype(np.float32)
    return found


def seeded() -> None:
    """Start all random numbers anew."""
    import numpy as np

    np.random.seed(SEED)  # noqa: NPY002 (alibi-detect takes no other)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:
        tensorflow.random.set_seed(SEED)


class Service:
    """What can be asked."""

    def __init__(self) -> None:
        self._opened: dict[int, Answer] = {}

    def __call__(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Do what is ``asked`` for."""
        import numpy as np

        for key in asked.get("forget", ()):
            self._opened.pop(key, None)
        if asked["op"] == "hello":
            import alibi_detect

            return {"alibi_detect": alibi_detect.__version__}
        task = {
            name: np.array(asked[name], dtype=np.float64) for name in ("reference", "held_out", "rows") if name in asked
        }
        if asked["op"] == "calibrate":
            found = calibrate(asked["kind"], asked["parameters"], task["reference"], asked["ert"], task["held_out"])
            return {"calibration": found}
        if asked["op"] == "open":
            kind, parameters = asked["kind"], asked["parameters"]
            if kind in CALIBRATED:
                answer = Drift(kind, parameters, task["reference"], asked["calibration"]).answer
                answer(task["rows"])  # which it has been asked of before: they are what it goes on from
            else:
                answer = Outliers(kind, parameters, task["reference"]).answer
            self._opened[asked["key"]] = answer
            return {}
        return {"answers": self._opened[asked["key"]](task["rows"])}


def serve(service: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer until the other side is gone."""
    channel = socket.socket(fileno=os.dup(0))
    asked: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=listen, args=(channel, asked.put), daemon=True).start()
    while True:
        try:
            said = service(asked.get())
        except Exception as error:  # noqa: BLE001 (whatever it is, the other side has to know)
            said = {"error": f"{type(error).__name__}: {error}"}
        body = json.dumps(said, allow_nan=False).encode()
        channel.sendall(LENGTH.pack(len(body)) + body)


def listen(channel: socket.socket, take: Callable[[dict[str, Any]], None]) -> None:
    """Read on, also while something is being computed: at the end of the other side, end this one."""
    stream = channel.makefile("rb")
    try:
        while True:
            take(json.loads(exactly(stream, LENGTH.unpack(exactly(stream, LENGTH.size))[0])))
    finally:
        os._exit(0)


def exactly(stream: io.BufferedReader, size: int) -> bytes:
    """So many bytes. Raises EOFError where there are no more."""
    read = stream.read(size)
    if len(read) < size:
        raise EOFError
    return read


if __name__ == "__main__":
    limit, with_tensorflow = int(sys.argv[1]) << 20, sys.argv[2] == "tensorflow"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    for name in ("torch", "prophet", "pykeops", *(() if with_tensorflow else ("tensorflow", "tensorflow_probability"))):
        sys.modules[name] = None  # type: ignore[assignment] # alibi-detect imports all that it finds
    serve(Service())
