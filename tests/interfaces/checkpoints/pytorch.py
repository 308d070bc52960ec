"""The networks of pytorch.rs in PyTorch: checks the files that it wrote, and writes others for it.

    python3 pytorch.py FOLDER

For each network and type FOLDER holds NET-TYPE.safetensors, the parameters, and
NET-TYPE-samples.safetensors, samples x and outputs z. The same two are written with NET-TYPE-torch
for NET-TYPE, of other parameters and samples. Exits with 1 where an output differs by too much.
"""

import pathlib
import sys
from collections import OrderedDict

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class Subsample2d(nn.Module):
    """LeNet's subsampling: the mean of each window, times a coefficient, plus a bias, of each map."""

    def __init__(self, maps, kernel):
        super().__init__()
        self.kernel = kernel
        self.coefficient = nn.Parameter(torch.ones(maps))
        self.bias = nn.Parameter(torch.zeros(maps))

    def forward(self, x):
        mean = nn.functional.avg_pool2d(x, self.kernel)
        return mean * self.coefficient[:, None, None] + self.bias[:, None, None]


def networks():
    """Name, shape of a sample, layers."""
    yield "paper", (1, 32, 32), OrderedDict(
        c1=nn.Conv2d(1, 15, 6),
        tanh1=nn.Tanh(),
        s2=Subsample2d(15, 3),
        tanh2=nn.Tanh(),
        c3=nn.Conv2d(15, 30, 9),
        tanh3=nn.Tanh(),
        flatten=nn.Flatten(),
        f4=nn.Linear(30, 2),
    )
    yield "lenet", (1, 28, 28), OrderedDict(
        conv1=nn.Conv2d(1, 20, 5),
        tanh1=nn.Tanh(),
        pool1=nn.AvgPool2d(2),
        conv2=nn.Conv2d(20, 50, 5),
        tanh2=nn.Tanh(),
        pool2=nn.AvgPool2d(2),
        flatten=nn.Flatten(),
        ip1=nn.Linear(800, 500),
        relu1=nn.ReLU(),
        ip2=nn.Linear(500, 10),
        feat=nn.Linear(10, 2),
    )
    yield "odd", (3, 11, 8), OrderedDict(
        c1=nn.Conv2d(3, 5, (4, 3), stride=2, padding=1),
        tanh1=nn.Tanh(),
        p2=nn.AvgPool2d(2, stride=1),
        flatten=nn.Flatten(),
        f3=nn.Linear(5 * 4 * 3, 3),
    )


def main(folder):
    torch.manual_seed(1)
    failed = False
    for kind, dtype, most in [("f32", torch.float32, 1e-5), ("f64", torch.float64, 1e-10)]:
        for name, shape, layers in networks():
            net = nn.Sequential(layers).to(dtype)
            of = lambda ending: folder / f"{name}-{kind}{ending}.safetensors"

            net.load_state_dict(load_file(of("")), strict=True)
            samples = load_file(of("-samples"))
            with torch.no_grad():
                z = net(samples["x"].reshape(-1, *shape))
            worst = (z - samples["z"]).abs().max().item()
            print(f"{name} {kind}: our file gives our outputs in PyTorch within {worst:.1e}")
            failed |= not worst <= most

            with torch.no_grad():
                for parameter in net.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
                x = 2 * torch.rand(samples["x"].shape[0], *shape, dtype=dtype) - 1
                z = net(x)
            save_file(net.state_dict(), of("-torch"))
            save_file({"x": x.flatten(1), "z": z}, of("-torch-samples"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
