"""PyTorch's MNIST example: python -m benchmarks.pytorch_example

Its network, transforms and defaults (github.com/pytorch/examples, mnist), image by image through
PIL and a DataLoader. Prints a line of JSON after each epoch.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from digits.core import command_line, errors
from digits.core.workers import count_workers
from digits.data import dataset
from digits.data.dataset import Labelled

RAW = Path(__file__).parents[1] / "data" / "raw"
EPOCHS = 14


def main() -> None:
    train(parse_args().workers)


class Images(Dataset[tuple[Tensor, int]]):
    """MNIST as in the example: each access makes a PIL image and transforms it into a tensor."""

    def __init__(self, labelled: Labelled) -> None:
        from torchvision import transforms

        self.labelled = labelled
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        )

    def __len__(self) -> int:
        return len(self.labelled)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.labelled.images[index])
        return self.transform(image), int(self.labelled.labels[index])


def network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 32, 3),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(9216, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )


def train(workers: int) -> None:
    """Print the test accuracy, and the seconds of training until then, after each epoch."""
    learnt, test = (Images(dataset.load(RAW, name)) for name in ("train", "test"))
    torch.set_num_threads(workers)
    torch.manual_seed(1)
    model = network()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    batches = DataLoader(learnt, batch_size=64, shuffle=True)
    seconds = 0.0
    for epoch in range(1, EPOCHS + 1):
        started = time.perf_counter()
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        schedule.step()
        seconds += time.perf_counter() - started
        row = {"epoch": epoch, "seconds": round(seconds, 1), "accuracy": accuracy(model, test)}
        print(json.dumps(row), flush=True)


def accuracy(model: nn.Module, test: Images) -> float:
    model.eval()
    correct = 0
    with torch.no_grad():
        for images, labels in DataLoader(test, batch_size=1000):
            correct += int((model(images).argmax(1) == labels).sum())
    return correct / len(test)


def parse_args() -> argparse.Namespace:
    parser = command_line.parser("benchmarks.pytorch_example", __doc__)
    parser.add_argument(
        "--workers", metavar="N", type=int, default=count_workers(), help="threads (all cores)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    errors.run(main)
