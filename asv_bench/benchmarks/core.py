"""The compiled core beside its peers: exact vector scan, codec. Peers that are not installed are skipped."""

import numpy as np

from llmspell._core import VectorIndex, pack, unpack

RECORD = {
    "id": "01HZX3V9K8M2Q4R6T8W0Y2A4C6",
    "name": "record",
    "version": 3,
    "created_at": "2025-01-02T03:04:05.678Z",
    "count": 42,
    "score": 0.5,
    "active": True,
    "tags": ["a", "bb", "ccc"],
    "meta": {"owner": "ann", "region": "eu", "size": 17},
}


class ExactScan:
    """Ten nearest of 2048 vectors of 384 dimensions."""

    params = ["llmspell", "numpy"]
    param_names = ["library"]

    def setup(self, library):
        rng = np.random.default_rng(1)
        self.vectors = rng.standard_normal((2048, 384), dtype=np.float32)
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        self.query = self.vectors[7] + 0.1 * rng.standard_normal(384, dtype=np.float32)
        self.index = VectorIndex(384)
        self.index.add(np.arange(2048), self.vectors)

    def time_search(self, library):
        if library == "llmspell":
            self.index.search(self.query, 10)
        else:
            np.argpartition(-(self.vectors @ self.query), 10)[:10]


class Codec:
    """Encoding and decoding one record of nine fields."""

    params = ["llmspell", "msgspec"]
    param_names = ["library"]

    def setup(self, library):
        import msgspec

        encoder, decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()
        self.encode = pack if library == "llmspell" else encoder.encode
        self.decode = unpack if library == "llmspell" else decoder.decode
        self.data = pack(RECORD)

    def time_encode(self, library):
        for _ in range(1000):
            self.encode(RECORD)

    def time_decode(self, library):
        for _ in range(1000):
            self.decode(self.data)
