"""Run torchvision's side of training_step.py in an environment of its own: some steps per line on standard input."""

import json
import os
import sys
import time

import torch
import torchvision


def main(size: int, batch: int, precision: str, steps: int) -> None:
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    model = torchvision.models.googlenet(weights=None, aux_logits=True, init_weights=False)
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05, fused=True)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    x = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    y = torch.randint(1000, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            output = model(x)
            heads = loss(output.aux_logits1, y) + loss(output.aux_logits2, y)
            total = loss(output.logits, y) + 0.3 * heads
        total.backward()
        optimizer.step()

    step()
    print(json.dumps(f"torch {torch.__version__}, torchvision {torchvision.__version__}"), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(steps):
            step()
        print(json.dumps([1000 * (time.perf_counter() - began)]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
