"""The process in which alibi-detect runs: started by ``process.py`` with the interpreter of an environment of its own.

It imports nothing of driftd, which that environment does not have. Its standard input is a socket, on which it is asked
and answers: four bytes of length, then JSON. It ends with whoever started it, because then the socket does. Answers
depend on what was asked alone: whatever is random is seeded.
"""

import io
import json
import math
import os
import queue
import resource
import shutil
import socket
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEED = 11
SIMULATIONS = 10
"""Of alibi-detect's bootstrap that have to be left at the end, for each row of the expected run time."""
HOMES = "driftd-alibi-"
LENGTH = struct.Struct(">I")
AT_ONCE = 64
"""Streams that are simulated at the same time, for CVM: more of them take more memory, and no less time."""

Rows = Any
Answer = Callable[[Rows], list[list[float]]]


class Drift:
    """CVM or FET, with thresholds that were found once, in bounded memory."""

    def __init__(self, kind: str, parameters: dict[str, Any], reference: Rows, calibration: dict[str, Any]) -> None:
        self._kind = kind
        self._keep = int(parameters["window_size"])
        self.detector = make(kind, parameters, reference, calibration)

    def answer(self, rows: Rows) -> list[list[float]]:
        """Whether each row is flagged, signal by signal."""
        return [self._flags(row) for row in rows]

    def _flags(self, row: Rows) -> list[float]:
        import numpy as np

        detector = self.detector
        if self._kind == "fet":
            # where a statistic is as large as its threshold, it is tossed up: the same way for the same rows
            np.random.seed(zlib.crc32(np.packbits(detector.xs[-self._keep :] > 0).tobytes()))  # noqa: NPY002
            flags = [float(detector.predict(row > 0)["data"]["is_drift"])]
        else:
            found = detector.predict(row)["data"]
            highest = np.nan_to_num(found["test_stat"], nan=-np.inf).max(axis=0)  # of windows that are full
            flags = [float(flag) for flag in highest > found["threshold"]]
        # alibi-detect keeps every row and every statistic for ever, and looks at the last ones only
        detector.test_stats = detector.test_stats[-1:]
        detector.drift_preds = detector.drift_preds[-1:]
        detector.xs = detector.xs[-self._keep :]
        return flags


class Scores:
    """An outlier detector, MMD or LSDD: a number for each row, higher is stranger."""

    def __init__(self, kind: str, parameters: dict[str, Any], reference: Rows, calibration: dict[str, Any]) -> None:
        self._learned: dict[str, Any] = {}
        self._together = kind == "isolation_forest"
        self._type = "float32" if kind in TOGETHER else "float64"
        if kind in TOGETHER:
            self.detector = make(kind, parameters, reference, calibration)
        elif kind == "isolation_forest":
            from alibi_detect.od.isolationforest import IForest

            seeded()
            self.detector = IForest(threshold=0.0, n_estimators=int(parameters["n_estimators"]))
            self.detector.fit(reference)
        else:
            from alibi_detect.od.mahalanobis import Mahalanobis

            self.detector = Mahalanobis(threshold=0.0, n_components=int(parameters["n_components"]))
            self.detector.score(reference)
            self._learned = dict(vars(self.detector))

    def answer(self, rows: Rows) -> list[list[float]]:
        """The score of each row."""
        if self._together:
            return [[float(score)] for score in self.detector.score(rows)]
        return [[self._score(row.astype(self._type))] for row in rows]

    def _score(self, row: Rows) -> float:
        if not self._learned:
            return float(self.detector.score(row))
        # as it was fitted: what Mahalanobis answers depends on the rows of the same call, and on all before
        vars(self.detector).update(self._learned)
        return float(self.detector.score(row[None])[0])


FLAGGING = ("cvm", "fet")
TOGETHER = ("mmd", "lsdd")
"""Kinds that compare the last rows, with all their numbers, with the reference."""
CALIBRATED = {"cvm": ("thresholds",), "fet": ("thresholds", "permit_probs"), "lsdd": ("H_lam_inv",)}
"""What is found by simulation, and is stored by whoever asked for it."""


def make(kind: str, parameters: dict[str, Any], reference: Rows, known: dict[str, Any] | None, ert: float = 0.0) -> Any:
    """An online detector; it simulates what it has to know where nothing is ``known``, which takes long."""
    size = int(parameters["window_size"])
    # of the simulated streams one in ``ert`` is left out at each row, and enough have to be left at the last
    steps, ert = size if kind in TOGETHER else 2 * size, max(ert, size)
    told: dict[str, Any] = {
        "ert": ert,
        "n_bootstraps": int(SIMULATIONS * ert * math.exp(steps / ert)),
        "verbose": False,
    }
    if kind in TOGETHER:
        told["window_size"] = size
        reference = reference.astype("float32")
    else:
        told["window_sizes"] = [max(size // 4, 2), size]
    if kind == "cvm":
        from alibi_detect.cd.cvm_online import CVMDriftOnline as Base

        told["batch_size"] = AT_ONCE
    elif kind == "fet":
        from alibi_detect.cd.fet_online import FETDriftOnline as Base

        reference = reference > 0
    elif kind == "mmd":
        from alibi_detect.cd.tensorflow.mmd_online import MMDDriftOnlineTF as Base
    else:
        from alibi_detect.cd.tensorflow.lsdd_online import LSDDDriftOnlineTF as Base
    seeded()
    if known is None:
        return Base(reference, **told)
    found = arrays(known)

    class Calibrated(Base):  # type: ignore[misc]
        def _configure_thresholds(self) -> None:
            self.thresholds = [float("inf")]  # not asked about, where there are none
            for name, value in found.items():
                setattr(self, name, value)
            seeded()  # so that what follows is as it is after a simulation

    return Calibrated(reference, **told)


def calibrate(kind: str, parameters: dict[str, Any], reference: Rows, ert: float, held_out: Rows) -> dict[str, Any]:
    """What has to be found out once: the thresholds of CVM and FET, and of all others which scores are normal."""
    found: dict[str, Any] = {}
    if kind in CALIBRATED:
        # the law of CVM's statistic is the same for every signal
        detector = make(kind, parameters, reference[:, :1] if kind == "cvm" else reference, None, ert)
        found = {name: plain(getattr(detector, name)) for name in CALIBRATED[kind]}
    if kind in FLAGGING:
        return found
    return found | {"scores": [score for (score,) in Scores(kind, parameters, reference, found).answer(held_out)]}


def plain(values: Any) -> Any:
    """An array as lists; what is no number is None, because JSON has no other word for it."""
    import numpy as np

    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, None).tolist()  # type: ignore[call-overload]


def arrays(calibration: dict[str, Any]) -> dict[str, Any]:
    """The reverse of ``plain``. A chance that is missing is that of a threshold no statistic is equal to."""
    import numpy as np

    found = {name: np.array(values, dtype=np.float64) for name, values in calibration.items() if name != "scores"}
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
            kind = asked["kind"]
            make_one = Drift if kind in FLAGGING else Scores
            answer = make_one(kind, asked["parameters"], task["reference"], asked["calibration"]).answer
            if len(task["rows"]):
                answer(task["rows"])  # which it has been asked of before: they are what it goes on from
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
        home = Path.cwd()
        if home.name.startswith(HOMES):  # whoever made it may have been killed
            shutil.rmtree(home, ignore_errors=True)
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
