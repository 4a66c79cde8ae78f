"""Train a detector of malicious requests with a training loop of one's own: python SCRIPT FILE."""

import sys
from pathlib import Path

import torch
from sklearn.feature_extraction.text import HashingVectorizer as Hashing
from torch.utils.data import DataLoader

pairs = [line.split("\t", 1) for line in Path(sys.argv[1]).read_text().splitlines()]
classes = torch.tensor([label == "attack" for label, _ in pairs]).long()
counts = Hashing(analyzer="char", ngram_range=(1, 3), n_features=4096).transform(text for _, text in pairs)
dataset = torch.utils.data.TensorDataset(torch.tensor(counts.toarray()).float(), classes)

torch.manual_seed(0)
network = torch.nn.Sequential(
    torch.nn.Linear(len(dataset[0][0]), 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)
)
optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
loss_function = torch.nn.CrossEntropyLoss()

for epoch in range(5):
    total, right = 0.0, 0
    for rows, labels in DataLoader(dataset, batch_size=128, shuffle=True):
        scores = network(rows)
        loss = loss_function(scores, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(labels)
        right += int((scores.argmax(1) == labels).sum())
    print(f"epoch {epoch + 1}: loss {total / len(dataset):.4f}, accuracy {right / len(dataset):.4f}")
