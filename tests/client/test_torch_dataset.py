from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import random as random_sparse
from sklearn.feature_extraction.text import HashingVectorizer

from fedcore.plugin_api.serialise import pack_features
from fedcore.plugin_api.values import Matrix, Sequence
from fedcore.wire.encoding import WireError
from plugins.readers.apache.generator import generate

torch = pytest.importorskip("torch")

from fedcore.client.torch_dataset import open_dataset  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLAIN, OURS = EXAMPLES / "plain_torch.py", EXAMPLES / "torch_dataset.py"


def matrix(rows: int, columns: int) -> Matrix:
    sparse = random_sparse(
        rows, columns, density=0.2, format="csr", dtype=np.float32, rng=np.random.default_rng(1)
    )
    sparse.sort_indices()
    return Matrix(sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data, columns)


def test_rows_and_labels_come_out_as_they_were_uploaded(tmp_path: Path) -> None:
    features, labels = matrix(20, 50), np.arange(20, dtype=np.int64) % 2
    (tmp_path / "rows").write_bytes(pack_features(features, labels))
    dataset = open_dataset(tmp_path / "rows")
    assert len(dataset) == 20
    rows, label = dataset[7]
    assert (rows.dtype, rows.shape, label.dtype, label.shape) == (torch.float32, (50,), torch.int64, ())
    np.testing.assert_array_equal(rows.numpy(), features.to_scipy().toarray()[7])
    assert int(label) == 1
    np.testing.assert_array_equal(dataset[-1][0], dataset[19][0])
    with pytest.raises(IndexError, match="Row 20 of 20 rows"):
        dataset[20]


def test_a_data_loader_sees_every_row_once(tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(pack_features(matrix(23, 50), np.zeros(23, np.int64)))
    loader = torch.utils.data.DataLoader(open_dataset(tmp_path / "rows"), batch_size=5, shuffle=True)
    seen = torch.cat([rows for rows, _ in loader])
    assert seen.shape == (23, 50)
    np.testing.assert_allclose(seen.sum().item(), matrix(23, 50).data.sum(), rtol=1e-5)


def test_sequences_are_whole_numbers_for_an_embedding(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 2], [0, 0, 3]], np.int32)
    (tmp_path / "rows").write_bytes(pack_features(Sequence(ids, 4), np.array([0, 1], np.int64)))
    row, _ = open_dataset(tmp_path / "rows")[1]
    assert row.dtype == torch.int64
    assert row.tolist() == [0, 0, 3]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    packed = bytearray(pack_features(matrix(20, 50), np.zeros(20, np.int64)))
    (tmp_path / "rows").write_bytes(packed[:-9])
    with pytest.raises(WireError, match="artefact_invalid"):
        open_dataset(tmp_path / "rows")


def test_at_most_five_lines_change_against_the_plain_script() -> None:
    plain, ours = (path.read_text().splitlines() for path in (PLAIN, OURS))
    changes = [line for line in difflib.ndiff(plain, ours) if line[:1] in "+-" and line[1:].strip()]
    assert 0 < sum(line.startswith("+") for line in changes) <= 5
    assert sum(line.startswith("-") for line in changes) <= 5


@pytest.mark.slow
def test_both_scripts_learn(tmp_path: Path) -> None:
    logged = [line.rsplit('"', 6) for line in generate(1000, 5, attack_share=0.4)]
    labels = np.array([end[-2] != "-" for end in logged], np.int64)
    requests = [end[0].split('"')[1] for end in logged]
    vectors = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=4096).transform(requests)
    vectors.sort_indices()
    names = np.where(labels == 1, "attack", "benign")
    lines = [f"{name}\t{request}\n" for name, request in zip(names, requests, strict=True)]
    (tmp_path / "requests.tsv").write_text("".join(lines))
    features = Matrix(
        vectors.indptr.astype(np.int64),
        vectors.indices.astype(np.int32),
        vectors.data.astype(np.float32),
        4096,
    )
    (tmp_path / "rows.safetensors").write_bytes(pack_features(features, labels))

    printed = [_run(PLAIN, tmp_path / "requests.tsv"), _run(OURS, tmp_path / "rows.safetensors")]
    assert printed[0] == printed[1], "the same data, network and loop learn the same"
    assert float(printed[0].split()[-1]) > 0.9


def _run(script: Path, data: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(script), str(data)],
        capture_output=True,
        text=True,
        check=True,
        cwd=EXAMPLES.parent,
        env={"PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"},
    )
    return done.stdout
