"""Train a detector of malicious requests with a training loop of one's own: python SCRIPT FILE."""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from fedcore.client.torch_dataset import open_dataset

dataset = open_dataset(Path(sys.argv[1]))

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
