"""Write the files of torch.save to this folder. Needs torch; 2.14.1 made the committed ones."""

import collections
from pathlib import Path

import torch

HERE = Path(__file__).parent


def values(*shape, dtype=torch.float32):
    return (torch.arange(torch.Size(shape).numel()).reshape(shape) / 8 - 1).to(dtype)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 1)
        self.bn = torch.nn.BatchNorm2d(3)


def main():
    net = Net()
    for number, tensor in enumerate((*net.parameters(), net.bn.running_mean, net.bn.running_var)):
        tensor.data.copy_(values(*tensor.shape) + number)
    views = collections.OrderedDict(
        double=values(2, 3, dtype=torch.float64),
        half=values(3, dtype=torch.float16),
        bfloat16=values(3, dtype=torch.bfloat16),
        transposed=values(2, 3, 4).permute(2, 0, 1),
        part=values(2, 3, 4)[1, :, 1::2],
        expanded=values(1).expand(3),
        parameter=torch.nn.Parameter(values(2)),
        scalar=values(),
        empty=values(0, 3),
    )
    training = {"epoch": 3, "state_dict": torch.nn.DataParallel(net).state_dict(), "loss": [0.5, None, True]}
    training["optimizer"] = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9).state_dict()
    for name, content in {"net": net.state_dict(), "views": views, "training": training}.items():
        torch.save(content, HERE / f"{name}_zip.pth")
        torch.save(content, HERE / f"{name}_stream.pth", _use_new_zipfile_serialization=False)
    torch.save(net.state_dict(), HERE / "net_protocol_4.pth", pickle_protocol=4)
    torch.save(net, HERE / "whole_model.pth")


if __name__ == "__main__":
    main()
