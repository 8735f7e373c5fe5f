"""Columns in files: what is written to rows is read there, by any process."""

import pickle

import numpy as np
import pytest

from agecli.data.columns import Column

PAIR = np.dtype([("a", np.int8, 3), ("b", np.uint64)])


@pytest.mark.parametrize("dtype", [np.dtype(np.int32), np.dtype((np.uint8, 32)), PAIR])
def test_rows_are_where_they_were_written(tmp_path, dtype):
    rng = np.random.default_rng(0)
    expected = np.frombuffer(rng.bytes(20 * dtype.itemsize), dtype.base)
    expected = expected.reshape(20, *dtype.shape)
    column = Column(tmp_path / "column", dtype, 20)
    assert len(column) == 20 and not column[:].view(np.uint8).any()
    column[12] = expected[12:]
    for row in range(12):
        column[row] = expected[row]
    other = pickle.loads(pickle.dumps(column))
    assert (other[:] == expected).all()
    with other.opened() as rows:
        assert (np.array([*rows]) == expected).all() and len(rows) == 20
        assert (rows[5:9] == expected[5:9]).all() and not len(rows[20:])
    assert (other[5:9] == expected[5:9]).all() and len(other[19:30]) == 1
